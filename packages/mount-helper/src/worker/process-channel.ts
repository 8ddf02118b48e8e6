/** A worker process as the back sees it: a FrontPort, and the watch over the process. */
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { sendDescriptor, socketFd } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { BackPort, FrontPort, ToFront } from "../server/channel.ts";
import { refuseConnection } from "../server/refuse-connection.ts";
import { encodeFrame, FrameReader } from "./frames.ts";
import type { Frame } from "./frames.ts";
import {
  MAX_FRAME_TO_BACK_BYTES,
  WORKER_ANSWER_TIMEOUT_MS,
  WORKER_CHECK_INTERVAL_MS,
  WORKER_MAX_BACKLOG_BYTES,
  WORKER_MAX_RSS_BYTES,
  WORKER_MAX_STDERR_BYTES,
  WORKER_PAUSE_BACKLOG_BYTES,
  WORKER_START_TIMEOUT_MS,
} from "./limits.ts";
import type { Identity } from "./privileges.ts";
import { assertUnprivileged } from "./privileges.ts";
import type { ToWorker } from "./worker-process.ts";
import { CHANNEL_DESCRIPTOR, SOCKETS_DESCRIPTOR } from "./worker-process.ts";

/** RFC 6455, section 7.4.1: cut, or never opened. */
const CLOSE_ABNORMAL = 1006;
/** /proc/PID/statm counts in pages; amd64 and arm64 as Debian builds it. */
const PAGE_BYTES = 4096;

export interface ProcessChannelParts {
  readonly child: ChildProcess;
  readonly identity: Identity;
  readonly back: BackPort;
  readonly logger: Logger;
}

export class ProcessChannel implements FrontPort {
  readonly #parts: ProcessChannelParts;
  readonly #channel: Socket;
  readonly #sockets: Socket;
  readonly #check: NodeJS.Timeout;
  /** Adopted before the worker was ready. */
  readonly #waiting = new Map<number, Socket>();
  readonly #startedAt = performance.now();
  #state: "starting" | "serving" | "ended" = "starting";
  #pingedAt: number | undefined;
  #corked = false;
  #resting: NodeJS.Timeout | undefined;

  constructor(parts: ProcessChannelParts) {
    this.#parts = parts;
    const { child } = parts;
    this.#channel = pipeOf(child, CHANNEL_DESCRIPTOR);
    this.#sockets = pipeOf(child, SOCKETS_DESCRIPTOR);
    // Nothing comes this way; what a hostile worker sends stays in the kernel's buffer.
    this.#sockets.pause();
    const reader = new FrameReader(MAX_FRAME_TO_BACK_BYTES, (frame) => this.#receive(frame));
    this.#channel.on("data", (chunk: Buffer) => this.#read(reader, chunk));
    this.#channel.on("drain", () => {
      if (this.#resting === undefined) this.#channel.resume();
    });
    for (const socket of [this.#channel, this.#sockets]) {
      socket.on("error", (error) => this.#fail(error.message));
      socket.on("close", () => this.#fail("it closed its channel"));
    }
    this.#collectStderr();
    child.once("error", (error) => this.#fail(error.message));
    child.once("exit", (code, signal) => this.#fail(`it ended: ${signal ?? `exit code ${code}`}`));
    this.#check = setInterval(() => this.#watch(), WORKER_CHECK_INTERVAL_MS);
    this.#check.unref();
    const { uid, gid } = parts.identity;
    this.#write({ type: "become", uid, gid });
  }

  get identity(): Identity {
    return this.#parts.identity;
  }

  adopt(connection: number, socket: Socket): void {
    if (this.#state === "starting") this.#waiting.set(connection, socket);
    else if (this.#state === "serving") this.#handOver(connection, socket);
    else refuse(socket);
  }

  send(message: ToFront): void {
    if (this.#state !== "serving") return;
    if (message.type !== "answer" && message.type !== "push") {
      this.#write(message);
      return;
    }
    const { text, ...head } = message;
    this.#write(head, text);
  }

  rest(ms: number): void {
    this.#channel.pause();
    this.#resting ??= setTimeout(() => {
      this.#resting = undefined;
      if (this.#channel.writableLength <= WORKER_PAUSE_BACKLOG_BYTES) this.#channel.resume();
    }, ms);
  }

  end(fault?: string): void {
    this.#stop(fault ?? "ended by the daemon", fault === undefined);
  }

  #read(reader: FrameReader, chunk: Buffer): void {
    if (this.#state === "ended") return;
    try {
      reader.push(chunk);
    } catch (error) {
      this.#fail(errorText(error));
    }
  }

  #receive({ head }: Frame): void {
    // What was in the same chunk as the frame for which it was ended.
    if (this.#state === "ended") return;
    const type: unknown = (head as { readonly type?: unknown } | null)?.type;
    if (type === "pong") this.#pingedAt = undefined;
    else if (type === "ready") this.#serve();
    else if (this.#state === "serving") this.#parts.back.receive(head);
    else this.#fail("it spoke before it was ready");
  }

  /** Its own word is not enough: the kernel's is read from outside. */
  #serve(): void {
    const { child, identity, logger } = this.#parts;
    if (this.#state !== "starting" || child.pid === undefined) {
      this.#fail("it was ready twice");
      return;
    }
    try {
      assertUnprivileged(child.pid, identity);
    } catch (error) {
      this.#fail(errorText(error));
      return;
    }
    this.#state = "serving";
    const ms = Math.round(performance.now() - this.#startedAt);
    logger.log("info", "worker-ready", { uid: identity.uid, pid: child.pid, ms });
    for (const [connection, socket] of this.#waiting) this.#handOver(connection, socket);
    this.#waiting.clear();
  }

  #handOver(connection: number, socket: Socket): void {
    if (socket.destroyed) {
      this.#parts.back.receive({ type: "closed", connection, code: CLOSE_ABNORMAL });
      return;
    }
    try {
      sendDescriptor(socketFd(this.#sockets), socketFd(socket), connection);
    } catch (error) {
      socket.destroy();
      this.#fail(errorText(error));
      return;
    }
    this.#write({ type: "adopt", connection });
    // The worker has its own descriptor; closing this one does not end the connection.
    socket.destroy();
  }

  #write(head: ToWorker, body?: string): void {
    if (!this.#corked) {
      this.#corked = true;
      this.#channel.cork();
      process.nextTick(() => {
        this.#corked = false;
        this.#channel.uncork();
      });
    }
    this.#channel.write(encodeFrame(head, body));
    const unread = this.#channel.writableLength;
    if (unread > WORKER_MAX_BACKLOG_BYTES) this.#fail("it does not read");
    else if (unread > WORKER_PAUSE_BACKLOG_BYTES) this.#channel.pause();
  }

  #watch(): void {
    const now = performance.now();
    if (this.#state === "starting") {
      if (now - this.#startedAt > WORKER_START_TIMEOUT_MS) this.#fail("it did not start in time");
      return;
    }
    if (this.#pingedAt === undefined) {
      this.#pingedAt = now;
      this.#write({ type: "ping" });
    } else if (now - this.#pingedAt > WORKER_ANSWER_TIMEOUT_MS) {
      this.#fail("it does not answer");
      return;
    }
    const rssBytes = residentBytes(this.#parts.child.pid);
    if (rssBytes > WORKER_MAX_RSS_BYTES) this.#fail(`it uses ${rssBytes} bytes of memory`);
  }

  #collectStderr(): void {
    const { child, identity, logger } = this.#parts;
    let room = WORKER_MAX_STDERR_BYTES;
    child.stderr?.on("data", (chunk: Buffer) => {
      const text = chunk.toString("utf8", 0, room);
      if (room > 0) logger.log("error", "worker-said", { uid: identity.uid, text });
      room = Math.max(0, room - chunk.length);
    });
  }

  #fail(reason: string): void {
    this.#stop(reason, false);
  }

  /** Ends it, once: SIGKILL needs no consent. The process is reaped by Node. */
  #stop(reason: string, byDaemon: boolean): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearInterval(this.#check);
    clearTimeout(this.#resting);
    this.#parts.child.kill("SIGKILL");
    this.#channel.destroy();
    this.#sockets.destroy();
    for (const socket of this.#waiting.values()) refuse(socket);
    this.#waiting.clear();
    if (!byDaemon) {
      const { child, identity, logger } = this.#parts;
      logger.log("error", "worker-lost", { uid: identity.uid, pid: child.pid, reason });
    }
    this.#parts.back.lost(reason, byDaemon);
  }
}

function refuse(socket: Socket): void {
  refuseConnection(
    socket,
    "503 Service Unavailable",
    "Your worker did not start: see the daemon's log.",
  );
}

function pipeOf(child: ChildProcess, descriptor: number): Socket {
  const pipe = child.stdio[descriptor];
  if (!(pipe instanceof Socket)) throw new Error(`the worker has no descriptor ${descriptor}`);
  return pipe;
}

/** 0 where the process is gone. */
function residentBytes(pid: number | undefined): number {
  try {
    const [, resident = "0"] = readFileSync(`/proc/${pid}/statm`, "utf8").split(" ");
    return Number(resident) * PAGE_BYTES;
  } catch {
    return 0;
  }
}

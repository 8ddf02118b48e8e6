/**
 * A process without privileges that works for the daemon, as the daemon sees it: the private channel to
 * it, and the watch over it. What it says beyond the life of the process is its user's (process-channel.ts
 * for a worker, gateway/gateway-process.ts for the gateway).
 */
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { sendDescriptor, socketFd } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import { encodeFrame, FrameReader } from "./frames.ts";
import type { Frame } from "./frames.ts";
import {
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
import type { FromConfined, ToConfined } from "./worker-process.ts";
import { CHANNEL_DESCRIPTOR, SOCKETS_DESCRIPTOR } from "./worker-process.ts";

/** /proc/PID/statm counts in pages; amd64 and arm64 as Debian builds it. */
const PAGE_BYTES = 4096;

export interface ConfinedProcessParts {
  readonly child: ChildProcess;
  /** The first word of its events in the log. */
  readonly kind: "worker" | "gateway";
  /** Who it is to become. */
  readonly identity: Identity;
  /** One message of it. */
  readonly maxFrameBytes: number;
  readonly logger: Logger;
  /** It has no privileges any more, by the kernel's word. */
  ready(): void;
  /** Whatever came from it, unchecked; after `ready`. */
  receive(head: unknown): void;
  /** It is gone. Called once, as the last. `byDaemon`: it was ended because it was not needed any more. */
  lost(reason: string, byDaemon: boolean): void;
}

export class ConfinedProcess {
  readonly #parts: ConfinedProcessParts;
  readonly #channel: Socket;
  readonly #sockets: Socket;
  readonly #check: NodeJS.Timeout;
  readonly #startedAt = performance.now();
  #state: "starting" | "serving" | "ended" = "starting";
  #pingedAt: number | undefined;
  #corked = false;
  #resting: NodeJS.Timeout | undefined;

  constructor(parts: ConfinedProcessParts) {
    this.#parts = parts;
    const { child } = parts;
    this.#channel = pipeOf(child, CHANNEL_DESCRIPTOR);
    this.#sockets = pipeOf(child, SOCKETS_DESCRIPTOR);
    // Nothing comes this way; what a hostile process sends stays in the kernel's buffer.
    this.#sockets.pause();
    const reader = new FrameReader(parts.maxFrameBytes, (frame) => this.#receive(frame));
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
    this.send({ type: "become", uid, gid } satisfies ToConfined);
  }

  get state(): "starting" | "serving" | "ended" {
    return this.#state;
  }

  /** `body` goes behind the head as it is. */
  send(head: object, body?: string): void {
    if (this.#state === "ended") return;
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

  /** It gets a descriptor of its own. False where it does not take it, and so has been ended. */
  give(descriptor: number, number: number): boolean {
    try {
      sendDescriptor(socketFd(this.#sockets), descriptor, number);
      return true;
    } catch (error) {
      this.#fail(errorText(error));
      return false;
    }
  }

  /** Reads nothing of it for that long. */
  rest(ms: number): void {
    this.#channel.pause();
    this.#resting ??= setTimeout(() => {
      this.#resting = undefined;
      if (this.#channel.writableLength <= WORKER_PAUSE_BACKLOG_BYTES) this.#channel.resume();
    }, ms);
  }

  /** `fault`: what it did, if anything. */
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
    if (type === ("pong" satisfies FromConfined["type"])) this.#pingedAt = undefined;
    else if (type === ("ready" satisfies FromConfined["type"])) this.#serve();
    else if (this.#state === "serving") this.#parts.receive(head);
    else this.#fail("it spoke before it was ready");
  }

  /** Its own word is not enough: the kernel's is read from outside. */
  #serve(): void {
    const { child, identity, kind, logger } = this.#parts;
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
    logger.log("info", `${kind}-ready`, { uid: identity.uid, pid: child.pid, ms });
    this.#parts.ready();
  }

  #watch(): void {
    const now = performance.now();
    if (this.#state === "starting") {
      if (now - this.#startedAt > WORKER_START_TIMEOUT_MS) this.#fail("it did not start in time");
      return;
    }
    if (this.#pingedAt === undefined) {
      this.#pingedAt = now;
      this.send({ type: "ping" } satisfies ToConfined);
    } else if (now - this.#pingedAt > WORKER_ANSWER_TIMEOUT_MS) {
      this.#fail("it does not answer");
      return;
    }
    const rssBytes = residentBytes(this.#parts.child.pid);
    if (rssBytes > WORKER_MAX_RSS_BYTES) this.#fail(`it uses ${rssBytes} bytes of memory`);
  }

  #collectStderr(): void {
    const { child, identity, kind, logger } = this.#parts;
    let room = WORKER_MAX_STDERR_BYTES;
    child.stderr?.on("data", (chunk: Buffer) => {
      const text = chunk.toString("utf8", 0, room);
      if (room > 0) logger.log("error", `${kind}-said`, { uid: identity.uid, text });
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
    const { child, identity, kind, logger } = this.#parts;
    child.kill("SIGKILL");
    this.#channel.destroy();
    this.#sockets.destroy();
    if (!byDaemon) {
      logger.log("error", `${kind}-lost`, { uid: identity.uid, pid: child.pid, reason });
    }
    this.#parts.lost(reason, byDaemon);
  }
}

function pipeOf(child: ChildProcess, descriptor: number): Socket {
  const pipe = child.stdio[descriptor];
  if (!(pipe instanceof Socket)) throw new Error(`the process has no descriptor ${descriptor}`);
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

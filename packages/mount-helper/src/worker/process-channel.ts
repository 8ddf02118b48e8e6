/** A worker process as the back sees it: a FrontPort. */
import type { ChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { socketFd } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import type { BackPort, FrontPort, ToFront } from "../server/channel.ts";
import { refuseConnection } from "../server/refuse-connection.ts";
import { ConfinedProcess } from "./confined-process.ts";
import { MAX_FRAME_TO_BACK_BYTES } from "./limits.ts";
import type { Identity } from "./privileges.ts";
import type { ToWorker } from "./worker-process.ts";

/** RFC 6455, section 7.4.1: cut, or never opened. */
const CLOSE_ABNORMAL = 1006;

export interface ProcessChannelParts {
  readonly child: ChildProcess;
  readonly identity: Identity;
  readonly back: BackPort;
  readonly logger: Logger;
}

export class ProcessChannel implements FrontPort {
  readonly #identity: Identity;
  readonly #back: BackPort;
  readonly #process: ConfinedProcess;
  /** Adopted before the worker was ready. */
  readonly #waiting = new Map<number, Socket>();

  constructor({ child, identity, back, logger }: ProcessChannelParts) {
    this.#identity = identity;
    this.#back = back;
    this.#process = new ConfinedProcess({
      child,
      kind: "worker",
      identity,
      maxFrameBytes: MAX_FRAME_TO_BACK_BYTES,
      logger,
      ready: () => {
        for (const [connection, socket] of this.#waiting) this.#handOver(connection, socket);
        this.#waiting.clear();
      },
      receive: (head) => back.receive(head),
      lost: (reason, byDaemon) => {
        for (const socket of this.#waiting.values()) refuse(socket);
        this.#waiting.clear();
        back.lost(reason, byDaemon);
      },
    });
  }

  get identity(): Identity {
    return this.#identity;
  }

  adopt(connection: number, socket: Socket): void {
    const { state } = this.#process;
    if (state === "starting") this.#waiting.set(connection, socket);
    else if (state === "serving") this.#handOver(connection, socket);
    else refuse(socket);
  }

  send(message: ToFront): void {
    if (this.#process.state !== "serving") return;
    if (message.type !== "answer" && message.type !== "push") {
      this.#process.send(message);
      return;
    }
    const { text, ...head } = message;
    this.#process.send(head, text);
  }

  rest(ms: number): void {
    this.#process.rest(ms);
  }

  end(fault?: string): void {
    this.#process.end(fault);
  }

  #handOver(connection: number, socket: Socket): void {
    if (socket.destroyed) {
      this.#back.receive({ type: "closed", connection, code: CLOSE_ABNORMAL });
      return;
    }
    if (this.#process.give(socketFd(socket), connection)) {
      this.#process.send({ type: "adopt", connection } satisfies ToWorker);
    }
    // The worker has its own descriptor; closing this one does not end the connection.
    socket.destroy();
  }
}

function refuse(socket: Socket): void {
  refuseConnection(
    socket,
    "503 Service Unavailable",
    "Your worker did not start: see the daemon's log.",
  );
}

/** Starts workers, one for each uid that has connections, within limits; remembers who let his die. */
import type { ChildProcess } from "node:child_process";
import type { Logger } from "../log.ts";
import type { Principal } from "../policy/policy.ts";
import type { BackPort, FrontPort } from "../server/channel.ts";
import {
  MAX_WORKERS,
  SPARE_DELAY_MS,
  WORKER_FIRST_BACKOFF_MS,
  WORKER_MAX_BACKOFF_MS,
} from "./limits.ts";
import type { Identity } from "./privileges.ts";
import { ProcessChannel } from "./process-channel.ts";
import { Spares } from "./spares.ts";
import { spawnWorker, workerProgram } from "./worker-process.ts";

export interface WorkerPoolParts {
  /** As whom the worker runs that reads root's connections: nobody else may be that user. */
  readonly rootIdentity: Identity;
  /** Uids of other processes of the daemon's own: nobody else may be those users either. */
  readonly reservedUids?: readonly number[];
  readonly logger: Logger;
  /** Processes that wait, their modules loaded, to become the worker of a user who has none. */
  readonly spares: number;
  /** When a spare that was taken is replaced; default: SPARE_DELAY_MS. */
  readonly spareDelayMs?: number;
  /** What Node runs in a worker, and, with undefined, in a spare; default: the worker. */
  readonly program?: (identity: Identity | undefined) => readonly string[];
  /** Milliseconds that never go back; default: performance.now. */
  readonly now?: () => number;
}

interface Backoff {
  readonly delayMs: number;
  /** No start before. */
  readonly until: number;
}

export class WorkerPool {
  readonly #parts: WorkerPoolParts;
  readonly #now: () => number;
  readonly #running = new Set<Promise<void>>();
  /** By uid; an entry goes with the first start after its time, and bounds itself by that. */
  readonly #backoffs = new Map<number, Backoff>();
  readonly #spares: Spares;
  /** Of those that have become somebody's. */
  readonly #uids = new WeakMap<ChildProcess, number>();

  constructor(parts: WorkerPoolParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
    const { program = workerProgram } = parts;
    this.#spares = new Spares({
      wanted: parts.spares,
      delayMs: parts.spareDelayMs ?? SPARE_DELAY_MS,
      logger: parts.logger,
      start: () => {
        if (this.#running.size >= MAX_WORKERS) return undefined;
        const child = spawnWorker(program(undefined));
        this.#follow(child);
        return child;
      },
    });
  }

  /** Processes that have not ended, spares included. */
  get size(): number {
    return this.#running.size;
  }

  /** Throws where this uid can have no worker now. */
  open(principal: Principal, back: BackPort): FrontPort {
    const { rootIdentity, reservedUids = [], logger, program = workerProgram } = this.#parts;
    const { uid, gid } = principal;
    if (uid === rootIdentity.uid || reservedUids.includes(uid)) {
      throw new Error(`uid ${uid} is reserved for a process of the daemon's own`);
    }
    const backoff = this.#backoffs.get(uid);
    if (backoff !== undefined && this.#now() < backoff.until) {
      throw new Error(
        `the last worker of uid ${uid} died; the next one waits ${backoff.delayMs} ms`,
      );
    }
    const identity = uid === 0 ? rootIdentity : { uid, gid };
    let child = this.#spares.take();
    if (child === undefined) {
      if (this.#running.size >= MAX_WORKERS) throw new Error(`${MAX_WORKERS} workers run already`);
      child = spawnWorker(program(identity));
      this.#follow(child);
    }
    this.#uids.set(child, identity.uid);
    const startedAt = this.#now();
    return new ProcessChannel({
      child,
      identity,
      logger,
      back: {
        receive: (message) => back.receive(message),
        lost: (reason, byDaemon) => {
          this.#remember(uid, this.#now() - startedAt, byDaemon);
          back.lost(reason, byDaemon);
        },
      },
    });
  }

  /** Ends the spares, and resolves when all processes are gone; end the workers first. */
  async close(): Promise<void> {
    this.#spares.end();
    await Promise.all(this.#running);
  }

  #follow(child: ChildProcess): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#running.add(promise);
    const ended = (): void => {
      this.#running.delete(promise);
      resolve();
    };
    child.once("exit", (code, signal) => {
      const fields = { uid: this.#uids.get(child), pid: child.pid, code, signal };
      this.#parts.logger.log("info", "worker-ended", fields);
      ended();
    });
    child.once("error", ended);
  }

  #remember(uid: number, servedMs: number, byDaemon: boolean): void {
    const now = this.#now();
    for (const [other, { until }] of this.#backoffs) {
      // Served its time, and nobody came since: forgotten, so that the table stays small.
      if (now > until + WORKER_MAX_BACKOFF_MS) this.#backoffs.delete(other);
    }
    if (byDaemon) return;
    const last = servedMs > WORKER_MAX_BACKOFF_MS ? undefined : this.#backoffs.get(uid);
    const doubled = last === undefined ? WORKER_FIRST_BACKOFF_MS : last.delayMs * 2;
    const delayMs = Math.min(doubled, WORKER_MAX_BACKOFF_MS);
    this.#backoffs.set(uid, { delayMs, until: now + delayMs });
  }
}

/**
 * Workers of nobody yet: started ahead, their modules loaded, they wait for the first user who has no
 * worker. One has no identity, no socket and no environment; what it has is what starting takes
 * (worker-process.ts), and it hears nobody but the daemon.
 */
import type { ChildProcess } from "node:child_process";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import {
  WORKER_FIRST_BACKOFF_MS,
  WORKER_MAX_BACKOFF_MS,
  WORKER_MAX_STDERR_BYTES,
} from "./limits.ts";

export interface SparesParts {
  readonly wanted: number;
  /** From when one is missing to when it is started. */
  readonly delayMs: number;
  /** Undefined where there is no room for one. */
  readonly start: () => ChildProcess | undefined;
  readonly logger: Logger;
}

export class Spares {
  readonly #parts: SparesParts;
  /** Each with what ends the watch over it. */
  readonly #waiting = new Map<ChildProcess, () => void>();
  #next: NodeJS.Timeout | undefined;
  #backoffMs = 0;
  #ended = false;

  constructor(parts: SparesParts) {
    this.#parts = parts;
    this.#fill();
  }

  /** The one that waits longest, the caller's from now on; undefined: there is none. */
  take(): ChildProcess | undefined {
    for (const [child, unwatch] of this.#waiting) {
      unwatch();
      this.#waiting.delete(child);
      this.#backoffMs = 0;
      this.#fill();
      return child;
    }
    return undefined;
  }

  /** Ends those that wait, and starts no more. */
  end(): void {
    this.#ended = true;
    clearTimeout(this.#next);
    for (const [child, unwatch] of this.#waiting) {
      unwatch();
      child.kill("SIGKILL");
    }
    this.#waiting.clear();
  }

  /** One after another. */
  #fill(): void {
    if (this.#ended || this.#next !== undefined) return;
    if (this.#waiting.size >= this.#parts.wanted) return;
    this.#next = setTimeout(() => {
      this.#next = undefined;
      this.#start();
      this.#fill();
    }, this.#parts.delayMs + this.#backoffMs);
    this.#next.unref();
  }

  #start(): void {
    const startedAt = performance.now();
    const { logger } = this.#parts;
    let child: ChildProcess | undefined;
    try {
      child = this.#parts.start();
    } catch (error) {
      this.#failed(0);
      logger.log("error", "spare-not-started", { error: errorText(error) });
    }
    if (child === undefined) return;
    const spare = child;
    const lost = (reason: string): void => {
      unwatch();
      this.#waiting.delete(spare);
      this.#failed(performance.now() - startedAt);
      const fields = { pid: spare.pid, reason, waitMs: this.#backoffMs };
      logger.log("error", "spare-lost", fields);
      this.#fill();
    };
    const onError = (error: Error): void => lost(error.message);
    const onExit = (code: number | null, signal: string | null): void =>
      lost(`it ended: ${signal ?? `exit code ${code}`}`);
    let room = WORKER_MAX_STDERR_BYTES;
    const onComplaint = (chunk: Buffer): void => {
      const text = chunk.toString("utf8", 0, room);
      if (room > 0) logger.log("error", "spare-said", { pid: spare.pid, text });
      room = Math.max(0, room - chunk.length);
    };
    const unwatch = (): void => {
      spare.stderr?.off("data", onComplaint);
      spare.off("error", onError);
      spare.off("exit", onExit);
    };
    spare.once("error", onError);
    spare.once("exit", onExit);
    spare.stderr?.on("data", onComplaint);
    this.#waiting.set(spare, unwatch);
    logger.log("info", "spare-started", { pid: spare.pid });
  }

  /** The next start waits: doubled from the first, back to none after one has lasted or was taken. */
  #failed(lastedMs: number): void {
    const last = lastedMs > WORKER_MAX_BACKOFF_MS ? 0 : this.#backoffMs;
    const doubled = last === 0 ? WORKER_FIRST_BACKOFF_MS : last * 2;
    this.#backoffMs = Math.min(doubled, WORKER_MAX_BACKOFF_MS);
  }
}

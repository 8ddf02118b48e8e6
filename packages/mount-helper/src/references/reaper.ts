/**
 * Sees to what nobody asks for: leases and sessions that end, mounts that were busy, mounts that are
 * to come back after a reboot. Each device is tended in its turn among the requests.
 */
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { MountService } from "./mount-service.ts";
import type { Sessions } from "./sessions.ts";

/** It looks at least so often: timers stand still while the machine sleeps, leases do not. */
export const MAX_REAPER_WAIT_MS = 5_000;
/** Not more often: each look goes over all records. */
const MIN_REAPER_WAIT_MS = 20;
/** While devices are tended: they stay due until that is over, and then there is a look at once. */
const BUSY_REAPER_WAIT_MS = 250;
/** Devices tended at the same time, those that wait for their turn not counted: others decide how long that is. */
export const MAX_TENDED_AT_ONCE = 8;

export interface ReaperParts {
  readonly service: Pick<MountService, "due" | "nextDueMs" | "tend">;
  readonly sessions: Sessions;
  /** Runs the task in the turn of the device. */
  readonly inTurn: (device: string, task: () => Promise<void>) => Promise<void>;
  readonly logger: Logger;
}

export class Reaper {
  readonly #parts: ReaperParts;
  /** In their turn, or in line for it. */
  readonly #tended = new Map<string, Promise<void>>();
  readonly #inTurn = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer ends, by performance.now. */
  #lookAtMs = Infinity;
  #stopped = true;

  constructor(parts: ReaperParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#stopped = false;
    this.schedule();
  }

  /** Something may be due sooner than it was. */
  schedule(): void {
    if (this.#stopped) return;
    const due = this.#parts.service.nextDueMs() ?? MAX_REAPER_WAIT_MS;
    const least = this.#tended.size > 0 ? BUSY_REAPER_WAIT_MS : MIN_REAPER_WAIT_MS;
    const waitMs = Math.min(MAX_REAPER_WAIT_MS, Math.max(least, due));
    const lookAtMs = performance.now() + waitMs;
    // Never later than it was: who changes something all the time would put it off for ever.
    if (lookAtMs >= this.#lookAtMs) return;
    clearTimeout(this.#timer);
    this.#lookAtMs = lookAtMs;
    this.#timer = setTimeout(() => this.#look(), waitMs);
    this.#timer.unref();
  }

  /** What is being done is ended, nothing more is begun, not even what is in line for its turn. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#lookAtMs = Infinity;
    await Promise.allSettled(this.#inTurn);
  }

  #look(): void {
    const { service, sessions, logger } = this.#parts;
    this.#lookAtMs = Infinity;
    try {
      for (const session of sessions.expire()) logger.log("info", "session-ended", { session });
      for (const device of service.due()) {
        if (this.#inTurn.size >= MAX_TENDED_AT_ONCE) break;
        if (!this.#tended.has(device)) this.#tend(device);
      }
    } catch (error) {
      logger.log("error", "reaper-failed", { error: errorText(error) });
    }
    this.schedule();
  }

  #tend(device: string): void {
    const { service, inTurn, logger } = this.#parts;
    const task = async (): Promise<void> => {
      // Its turn came when there was no place: it stays due, and there is a look when one is free.
      if (this.#stopped || this.#inTurn.size >= MAX_TENDED_AT_ONCE) return;
      const work = service.tend(device);
      this.#inTurn.add(work);
      try {
        await work;
      } finally {
        this.#inTurn.delete(work);
      }
    };
    const tending = inTurn(device, task)
      .catch((error: unknown) => {
        logger.log("warn", "device-not-tended", { device, error: errorText(error) });
      })
      .finally(() => {
        this.#tended.delete(device);
        this.schedule();
      });
    this.#tended.set(device, tending);
  }
}

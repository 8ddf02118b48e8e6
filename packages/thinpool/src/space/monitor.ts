/**
 * Looks at a pool again and again: when the device-mapper has an event, and at an interval, since the
 * kernel's low-water event comes once per resume and can be missed. Holds no thread, does not keep the
 * process alive, and ends by `stop`.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { DeviceMapper, DmEventPoll } from "@thinpool/dm-native";

/** Others' monitors poll as often (LVM's dmeventd). */
export const DEFAULT_POLL_INTERVAL_MS = 10_000;
export const MIN_POLL_INTERVAL_MS = 100;
export const MAX_POLL_INTERVAL_MS = 3_600_000;
/**
 * From an event to the look: every dm device made or removed on the machine is an event, most come in the
 * middle of an operation, and a host that makes hundreds of clones a second must not pay a look for each.
 */
const SETTLE_MS = 50;
/** After failures in a row the pause doubles up to this. */
const MAX_BACKOFF_MS = 300_000;

export interface MonitorOptions {
  readonly pollIntervalMs?: number;
}

export class Monitor {
  readonly #dm: DeviceMapper;
  readonly #intervalMs: number;
  readonly #look: () => Promise<void>;
  readonly #failed: (error: unknown, failuresInARow: number) => void;
  #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: {
    readonly dm: DeviceMapper;
    readonly intervalMs: number;
    /** One look; a failure is told to `failed` and tried again later. */
    readonly look: () => Promise<void>;
    readonly failed: (error: unknown, failuresInARow: number) => void;
  }) {
    this.#dm = options.dm;
    this.#intervalMs = options.intervalMs;
    this.#look = options.look;
    this.#failed = options.failed;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  start(): void {
    if (this.#running !== undefined) return;
    this.#stopping = new AbortController();
    this.#running = this.#run(this.#stopping.signal);
  }

  /** Resolves when the look that is under way has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    this.#running = undefined;
  }

  async #run(stop: AbortSignal): Promise<void> {
    let poll: DmEventPoll | undefined;
    let failures = 0;
    while (!stop.aborted) {
      poll = await this.#wait(poll, stop);
      await pause(SETTLE_MS, stop);
      if (stop.aborted) break;
      try {
        await this.#look();
        failures = 0;
      } catch (error) {
        failures += 1;
        this.#failed(error, failures);
      }
      if (failures === 0) continue;
      await pause(Math.min(MAX_BACKOFF_MS, this.#intervalMs * 2 ** Math.min(failures, 16)), stop);
    }
    await poll?.close();
  }

  /** Until an event or the interval's end. Returns the poll to wait on the next time, if it works. */
  async #wait(poll: DmEventPoll | undefined, stop: AbortSignal): Promise<DmEventPoll | undefined> {
    let usable = poll;
    try {
      usable ??= await this.#dm.openEventPoll();
      await usable.wait({ timeoutMs: this.#intervalMs, signal: stop, ref: false });
      return usable;
    } catch {
      // Stopped; or this kernel has no event polling: then the interval alone must do, and the next turn
      // tries anew.
      await usable?.close();
      await pause(this.#intervalMs, stop);
      return undefined;
    }
  }
}

async function pause(milliseconds: number, stop: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, { signal: stop, ref: false });
  } catch (error) {
    if (!stop.aborted) throw error;
  }
}

/** Waiting for any dm device's event on the control node: poll(2) and DM_DEV_ARM_POLL, one thread. */
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { NativeError } from "../errors.ts";
import { ERRNO, nativeErrorFromErrno } from "../sys/errno.ts";
import { poll } from "../sys/libc.ts";
import type { LongWaitLane } from "../sys/long-wait.ts";
import type { DmEventPoll } from "./device-mapper.ts";
import { issue } from "./ioctl-funnel.ts";
import { CONTROL_NODE } from "./nodes.ts";

const POLLIN = 1;
/** poll(2) takes an int. */
const MAX_TIMEOUT_MS = 0x7fff_ffff;

function refused(
  code: "NATIVE_INVALID" | "NATIVE_REFUSED",
  reason: string,
  hint: string,
): NativeError {
  return new NativeError({ code, operation: "event poll", object: CONTROL_NODE, reason, hint });
}

/** struct pollfd: int fd, short events, short revents. */
function pollRequest(fd: number): Buffer {
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd, 0);
  request.writeInt16LE(POLLIN, 4);
  return request;
}

/**
 * The kernel keeps the armed event number per open file: each poll has one of its own. Events
 * count from its opening on.
 */
export class LinuxEventPoll implements DmEventPoll {
  readonly #file: FileHandle;
  readonly #lane: LongWaitLane;
  readonly #closing = new AbortController();
  #waiting: Promise<boolean> | undefined;

  private constructor(file: FileHandle, lane: LongWaitLane) {
    this.#file = file;
    this.#lane = lane;
  }

  static async open(lane: LongWaitLane): Promise<LinuxEventPoll> {
    const eventPoll = new LinuxEventPoll(await open(CONTROL_NODE, "r+"), lane);
    try {
      // A kernel without event polling says so now and not at the first wait.
      await eventPoll.#arm();
      return eventPoll;
    } catch (error) {
      await eventPoll.close();
      throw error;
    }
  }

  async wait(options: {
    readonly timeoutMs: number;
    readonly signal?: AbortSignal;
    readonly ref?: boolean;
  }): Promise<boolean> {
    const { timeoutMs, signal, ref = true } = options;
    if (!Number.isInteger(timeoutMs) || timeoutMs < 0 || timeoutMs > MAX_TIMEOUT_MS) {
      throw refused(
        "NATIVE_INVALID",
        `timeoutMs is ${timeoutMs}`,
        `Use an integer from 0 to ${MAX_TIMEOUT_MS}.`,
      );
    }
    if (this.#closing.signal.aborted) throw this.#closing.signal.reason;
    if (this.#waiting !== undefined) {
      throw refused("NATIVE_REFUSED", "a wait is under way", "Open one event poll per waiter.");
    }
    this.#waiting = this.#wait(timeoutMs, signal, ref);
    try {
      return await this.#waiting;
    } finally {
      this.#waiting = undefined;
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(refused("NATIVE_REFUSED", "it is closed", "Open a new one."));
    // The descriptor must outlive the call that waits on it; the waiter gets the reason itself.
    await Promise.allSettled([this.#waiting]);
    await this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #wait(timeoutMs: number, signal: AbortSignal | undefined, ref: boolean): Promise<boolean> {
    const stop =
      signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const leftMs = Math.max(0, Math.ceil(deadline - performance.now()));
      const request = pollRequest(this.#file.fd);
      const outcome = await this.#lane.run(poll, [request, 1, leftMs], { signal: stop, ref });
      if (outcome.result > 0) {
        await this.#arm();
        return true;
      }
      if (outcome.result === 0) return false;
      // EINTR: a signal that was not ours; wait on with what is left of the time.
      if (outcome.errno !== ERRNO.EINTR) {
        throw nativeErrorFromErrno({
          operation: "poll",
          object: CONTROL_NODE,
          errno: outcome.errno,
        });
      }
    }
  }

  async #arm(): Promise<void> {
    const funnel = { fd: this.#file.fd, lane: this.#lane, events: this.#lane };
    await issue(funnel, { command: "DM_DEV_ARM_POLL" });
  }
}

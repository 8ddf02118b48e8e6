/** Waiting for any dm device's event on the control node, on Node's loop, and DM_DEV_ARM_POLL. */
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { NativeError } from "../errors.ts";
import { waitReadable } from "../sys/readable-watch.ts";
import type { DmEventPoll } from "./device-mapper.ts";
import { issue } from "./ioctl-funnel.ts";
import type { Funnel } from "./ioctl-funnel.ts";
import { CONTROL_NODE } from "./nodes.ts";

/** setTimeout takes no more. */
const MAX_TIMEOUT_MS = 0x7fff_ffff;

function refused(
  code: "NATIVE_INVALID" | "NATIVE_REFUSED",
  reason: string,
  hint: string,
): NativeError {
  return new NativeError({ code, operation: "event poll", object: CONTROL_NODE, reason, hint });
}

/**
 * The kernel keeps the armed event number per open file: each poll has one of its own. Events
 * count from its opening on.
 */
export class LinuxEventPoll implements DmEventPoll {
  readonly #file: FileHandle;
  readonly #funnel: Funnel;
  readonly #closing = new AbortController();
  /** Of this poll, and of the device-mapper that it belongs to. */
  readonly #ends: AbortSignal;
  #waiting: Promise<boolean> | undefined;

  private constructor(file: FileHandle, funnel: Omit<Funnel, "fd">, ends: AbortSignal) {
    this.#file = file;
    this.#funnel = { ...funnel, fd: file.fd };
    this.#ends = AbortSignal.any([this.#closing.signal, ends]);
  }

  /** `ends`: its abort ends every wait, with its reason. */
  static async open(funnel: Omit<Funnel, "fd">, ends: AbortSignal): Promise<LinuxEventPoll> {
    const eventPoll = new LinuxEventPoll(await open(CONTROL_NODE, "r+"), funnel, ends);
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
    this.#ends.throwIfAborted();
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
    // The descriptor must outlive the wait on it; the waiter gets the reason itself.
    await Promise.allSettled([this.#waiting]);
    await this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #wait(timeoutMs: number, signal: AbortSignal | undefined, ref: boolean): Promise<boolean> {
    const stop = signal === undefined ? this.#ends : AbortSignal.any([signal, this.#ends]);
    if (!(await waitReadable(this.#file.fd, { timeoutMs, signal: stop, ref }))) return false;
    await this.#arm();
    return true;
  }

  async #arm(): Promise<void> {
    await issue(this.#funnel, { command: "DM_DEV_ARM_POLL" });
  }
}

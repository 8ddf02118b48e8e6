/**
 * Waiting until udev's rules for a change of ours are through, as libdevmapper does it: the command
 * carries a cookie, the kernel puts it into the uevent (DM_COOKIE), the last rule counts the
 * semaphore of that key down (`dmsetup udevcomplete`). The wait always has a limit: a udevd whose
 * worker was killed never counts down (that froze every `docker ps`: moby 27900).
 */
import { existsSync } from "node:fs";
import type { LongWaitLane } from "../sys/long-wait.ts";
import {
  createSemaphore,
  decrementSemaphore,
  destroySemaphore,
  semaphoreValue,
  waitForZero,
} from "./semaphore.ts";
import type { Semaphore } from "./semaphore.ts";

/** udevd's own socket: it is there while udevd runs. */
const UDEV_CONTROL = "/run/udev/control";
/** libdevmapper's variable, honoured by dmsetup and lvm as well. */
const DISABLE_VARIABLE = "DM_DISABLE_UDEV";

/** libdevmapper.h, DM_UDEV_*_FLAG: they travel in the upper 16 bits of event_nr. */
export const UDEV_FLAG = {
  DISABLE_SUBSYSTEM_RULES: 0x0002,
  DISABLE_DISK_RULES: 0x0004,
  DISABLE_OTHER_RULES: 0x0008,
  PRIMARY_SOURCE: 0x0040,
} as const;
const UDEV_FLAGS_SHIFT = 16;

/** "internal": nothing probes the device and no link to its content is made (pool internals). */
export type UdevRules = "normal" | "internal";

export function udevIsRunning(): boolean {
  return process.env[DISABLE_VARIABLE] === undefined && existsSync(UDEV_CONTROL);
}

export interface UdevCookie {
  /** For struct dm_ioctl's event_nr. */
  readonly eventNr: number;
  /** After the command succeeded. False when the time was up; the semaphore is gone either way. */
  finish(ueventGenerated: boolean): Promise<boolean>;
  /** After the command failed. */
  abandon(): void;
  /** What is still awaited: 1 until udev is through. */
  pending(): number;
}

export function cookieEventNr(lowHalf: number, rules: UdevRules): number {
  const flags =
    rules === "internal"
      ? UDEV_FLAG.DISABLE_SUBSYSTEM_RULES |
        UDEV_FLAG.DISABLE_DISK_RULES |
        UDEV_FLAG.DISABLE_OTHER_RULES
      : 0;
  return (((flags | UDEV_FLAG.PRIMARY_SOURCE) << UDEV_FLAGS_SHIFT) | lowHalf) >>> 0;
}

export function beginCookie(lane: LongWaitLane, rules: UdevRules, timeoutMs: number): UdevCookie {
  const semaphore: Semaphore = createSemaphore();
  return {
    eventNr: cookieEventNr(semaphore.lowHalf, rules),
    finish: async (ueventGenerated) => {
      try {
        // No uevent, nobody to count down.
        if (!ueventGenerated) decrementSemaphore(semaphore);
        return await waitForZero(lane, semaphore, timeoutMs);
      } finally {
        destroySemaphore(semaphore);
      }
    },
    abandon: () => destroySemaphore(semaphore),
    pending: () => semaphoreValue(semaphore),
  };
}

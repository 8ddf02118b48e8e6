/** Time since the machine's start, which no change of the wall clock moves: clock_gettime(2). */
import { readFileSync } from "node:fs";
import { nativeErrorFromErrno } from "./errno.ts";
import { libcFunction } from "./libc.ts";

/** linux/time.h: as CLOCK_MONOTONIC, but it goes on while the machine sleeps. */
const CLOCK_BOOTTIME = 7;
/** struct timespec on 64-bit Linux: seconds i64, nanoseconds i64. */
const TIMESPEC_BYTES = 16;
const BOOT_ID = "/proc/sys/kernel/random/boot_id";

const clockGettime = libcFunction("int clock_gettime(int clock, void *time)");

/** Milliseconds since this boot, sleep included. Only comparable within one `bootId`. */
export function bootTimeMs(): number {
  const time = Buffer.alloc(TIMESPEC_BYTES);
  const { result, errno } = clockGettime.sync(CLOCK_BOOTTIME, time);
  if (result !== 0) {
    throw nativeErrorFromErrno({ operation: "clock_gettime", object: "CLOCK_BOOTTIME", errno });
  }
  return Number(time.readBigInt64LE(0)) * 1000 + Number(time.readBigInt64LE(8)) / 1_000_000;
}

/** The kernel's random name of this boot (random(4)): another one after each reboot. */
export function bootId(): string {
  return readFileSync(BOOT_ID, "utf8").trim();
}

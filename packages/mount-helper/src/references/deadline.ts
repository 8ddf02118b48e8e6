/**
 * Instants that hold across a change of the wall clock, a restart of the daemon, and a reboot. Within
 * one boot the time since boot counts (sleep included), which nobody can set. After a reboot only the
 * wall clock is left; then the time that is left can't be more than there ever was, however far back
 * the clock went.
 */

/** One look at both clocks. */
export interface ClockReading {
  readonly wallMs: number;
  /** Since boot, sleep included; comparable within one `bootId` only. */
  readonly bootMs: number;
  readonly bootId: string;
}

export interface Clock {
  read(): ClockReading;
}

/** One instant, as both clocks will show it. */
export type Deadline = ClockReading;

export function deadlineIn(now: ClockReading, durationMs: number): Deadline {
  return {
    wallMs: Math.round(now.wallMs + durationMs),
    bootMs: Math.round(now.bootMs + durationMs),
    bootId: now.bootId,
  };
}

/** Milliseconds until `deadline`, 0 or less where it has passed. `durationMs`: how far off it was set. */
export function leftMs(deadline: Deadline, durationMs: number, now: ClockReading): number {
  const left =
    deadline.bootId === now.bootId ? deadline.bootMs - now.bootMs : deadline.wallMs - now.wallMs;
  return Math.min(left, durationMs);
}

/** Who holds a reference, and until when. Pure. */
import type { ClockReading, Deadline } from "./deadline.ts";
import { deadlineIn, leftMs } from "./deadline.ts";

/** A lease may not be shorter: its holder could not renew it in time. */
export const MIN_LEASE_MS = 1_000;
/** Thirty days: longer than any job; what is to stay longer is made permanent by an admin. */
export const MAX_LEASE_MS: number = 30 * 24 * 60 * 60 * 1_000;

export type Holder =
  /** Ends with the session: a connection's, and a grace period after it. */
  | { readonly type: "session"; readonly session: string }
  /** Ends at its deadline, which its holder moves by renewing. */
  | { readonly type: "lease"; readonly ttlMs: number; readonly deadline: Deadline }
  /** Ends when it is released. */
  | { readonly type: "permanent" };

export interface Reference {
  readonly id: string;
  readonly holderUid: number;
  readonly holder: Holder;
  readonly createdAtMs: number;
}

export function newLease(ttlMs: number, now: ClockReading): Holder {
  return { type: "lease", ttlMs, deadline: deadlineIn(now, ttlMs) };
}

/** Milliseconds until the reference ends by time; undefined for one that does not. */
export function timeLeftMs({ holder }: Reference, now: ClockReading): number | undefined {
  return holder.type === "lease" ? leftMs(holder.deadline, holder.ttlMs, now) : undefined;
}

/** The lease counts from now on; another `ttlMs` if given. Undefined where it is no lease. */
export function renew(
  reference: Reference,
  ttlMs: number | undefined,
  now: ClockReading,
): Reference | undefined {
  const { holder } = reference;
  if (holder.type !== "lease") return undefined;
  return { ...reference, holder: newLease(ttlMs ?? holder.ttlMs, now) };
}

/** After a reboot: a lease's deadline on this boot's clock, with the time that is left. */
export function carryOver(reference: Reference, now: ClockReading): Reference {
  const { holder } = reference;
  if (holder.type !== "lease" || holder.deadline.bootId === now.bootId) return reference;
  const left = leftMs(holder.deadline, holder.ttlMs, now);
  return { ...reference, holder: { ...holder, deadline: deadlineIn(now, left) } };
}

/** True where the reference has ended: its time is up, or its session is not among the living. */
export function hasEnded(
  reference: Reference,
  now: ClockReading,
  isAlive: (session: string) => boolean,
): boolean {
  const { holder } = reference;
  if (holder.type === "session") return !isAlive(holder.session);
  return (timeLeftMs(reference, now) ?? 1) <= 0;
}

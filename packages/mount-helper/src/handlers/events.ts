/** events.*: what happens in the pool, as far as the caller may see it. */
import type { KnownEvent, MethodResult } from "@thinpool/protocol";
import { DEFAULT_EVENT_WAIT_MS, MAX_EVENTS_PER_ANSWER } from "@thinpool/protocol";
import type { Device } from "@thinpool/thinpool";
import { PoolError } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import type { Principal } from "../policy/policy.ts";
import { Shares } from "../shares.ts";
import { deviceToWire } from "./device-to-wire.ts";
import { devicesInTurns } from "./devices-in-turns.ts";
import { eventToWire } from "./event-to-wire.ts";
import type { HandlerParts, Topic } from "./handler.ts";
import { statusToWire } from "./pool.ts";

/** Readers that wait at once: each is woken by each commit. */
export const MAX_EVENT_READERS = 256;
export const MAX_EVENT_READERS_PER_UID = 32;
/** States of one user that are put together at once; each has all his devices. */
export const MAX_STATES_PER_UID = 4;
/** How much of the time that a user's call may take it waits at most. */
const WAIT_SHARE = 1 / 2;
/** Events that one answer looks through; most of a busy pool's are not for this caller. */
const MAX_EVENTS_LOOKED_AT = 1_000;

type Next = MethodResult<"events.next">;
type Wire = MethodResult<"device.get">;
type Because = NonNullable<Next["state"]>["because"];

export function eventHandlers(parts: HandlerParts): Topic<"events"> {
  const { pool, access } = parts;
  const readers = new Readers();
  const states = new Shares(MAX_STATES_PER_UID);
  const toWire = deviceToWire(parts);

  /** At least as new as its number: what is in it already may come as an event once more. */
  const state = (because: Because, principal: Principal, signal: AbortSignal): Promise<Next> =>
    states.run(principal.uid, () => stateOf(because, principal, signal));

  const stateOf = async (
    because: Because,
    principal: Principal,
    signal: AbortSignal,
  ): Promise<Next> => {
    signal.throwIfAborted();
    const last = pool.lastEventNumber;
    const status = statusToWire(await pool.status());
    const view = (device: Device): Wire | undefined =>
      access.sees(principal, device) ? toWire(device) : undefined;
    const { devices } = await devicesInTurns(pool, { view, signal });
    return { events: [], last, state: { because, pool: status, devices: [...devices] } };
  };

  /** Undefined: the daemon was started anew right after `after`. */
  const read = async (
    after: number,
    principal: Principal,
    signal: AbortSignal,
  ): Promise<Next | undefined> => {
    const events: KnownEvent[] = [];
    let last = after;
    let settled = pool.lastEventNumber;
    try {
      for await (const event of pool.events({ after, signal })) {
        if (event.type === "pool-opened") {
          if (last === after) return undefined;
          break;
        }
        last = event.number;
        const wire = eventToWire(event, principal, access);
        if (wire !== undefined) events.push(wire);
        if (events.length === MAX_EVENTS_PER_ANSWER) break;
        if (last - after >= MAX_EVENTS_LOOKED_AT) break;
        // It had to be waited for: there may be more by now.
        if (last > settled) settled = pool.lastEventNumber;
        if (last === settled && events.length > 0) break;
      }
    } catch (error) {
      // Time is up: nothing for this caller has happened.
      if (!signal.aborted || error !== signal.reason) throw error;
    }
    return { events, last };
  };

  /** What the log has at once; it waits for nothing. */
  const list = async (
    after: number,
    principal: Principal,
    signal: AbortSignal,
  ): Promise<MethodResult<"events.list">> => {
    const [oldest, newest] = [pool.firstEventNumber, pool.lastEventNumber];
    const events: KnownEvent[] = [];
    const start = Math.max(after, oldest - 1);
    let last = start;
    if (start === newest) return { events, last, oldest, newest };
    for await (const event of pool.events({ after: start, signal })) {
      last = event.number;
      const wire = eventToWire(event, principal, access);
      if (wire !== undefined) events.push(wire);
      if (last >= newest || events.length === MAX_EVENTS_PER_ANSWER) break;
      if (last - start >= MAX_EVENTS_LOOKED_AT) break;
    }
    return { events, last, oldest, newest };
  };

  return {
    "events.list": ({ after = 0 }, principal, { signal }) => list(after, principal, signal),

    "events.next": async ({ after, waitMs = DEFAULT_EVENT_WAIT_MS }, principal, call) => {
      if (after === undefined) return state("start", principal, call.signal);
      if (after > pool.lastEventNumber) return state("behind", principal, call.signal);
      using _place = readers.take(principal.uid);
      // A shorter limit on a call's time would make an error of a pool in which nothing happens.
      const most = access.limits(principal).requestMs * WAIT_SHARE;
      using wait = new Wait(Math.min(waitMs, most), [call.signal, parts.stopping]);
      try {
        const next = await read(after, principal, wait.signal);
        return next ?? (await state("restart", principal, call.signal));
      } catch (error) {
        const isBehind = error instanceof PoolError && error.code === "POOL_EVENTS_LOST";
        if (isBehind) return state("behind", principal, call.signal);
        throw error;
      }
    },
  };
}

/** Its signal is set after a time, or with one of others. */
class Wait implements Disposable {
  readonly #others: readonly AbortSignal[];
  readonly #end = new AbortController();
  readonly #abort = (): void => this.#end.abort();
  readonly #timer: NodeJS.Timeout;

  constructor(ms: number, others: readonly AbortSignal[]) {
    this.#others = others;
    this.#timer = setTimeout(this.#abort, ms);
    for (const other of others) {
      if (other.aborted) this.#abort();
      other.addEventListener("abort", this.#abort, { once: true });
    }
  }

  get signal(): AbortSignal {
    return this.#end.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const other of this.#others) other.removeEventListener("abort", this.#abort);
  }
}

/** Places for readers that wait. */
class Readers {
  readonly #byUid = new Map<number, number>();
  #all = 0;

  /** LIMIT where there is none left. Disposing of it gives it back. */
  take(uid: number): Disposable {
    const own = this.#byUid.get(uid) ?? 0;
    if (own >= MAX_EVENT_READERS_PER_UID || this.#all >= MAX_EVENT_READERS) {
      const isOwn = own >= MAX_EVENT_READERS_PER_UID;
      throw new RequestError({
        code: "LIMIT",
        operation: "events.next",
        object: "the pool",
        reason: isOwn
          ? `${own} calls of yours wait for events already`
          : `${this.#all} calls wait for events already`,
        hint: "Read the events once, and hand them on in your program.",
      });
    }
    this.#add(uid, 1);
    return { [Symbol.dispose]: () => this.#add(uid, -1) };
  }

  #add(uid: number, more: 1 | -1): void {
    this.#all += more;
    const own = (this.#byUid.get(uid) ?? 0) + more;
    if (own === 0) this.#byUid.delete(uid);
    else this.#byUid.set(uid, own);
  }
}

/** What happens in the pool, one thing after another, over cuts and restarts. */
import type { EventInHand, KnownEvent, MethodResult } from "@thinpool/protocol";
import { eventFromWire, isKnownEvent } from "@thinpool/protocol";
import type { Requests } from "./requests.ts";
import type { Device, PoolStatus } from "./resources.ts";
import { deviceFromWire, statusFromWire } from "./resources.ts";

/** An answer waits for an event, and for the daemon's return, which is the link's to give up. */
const ANSWER_TIMEOUT_MS = 3_600_000;

export interface EventsOptions {
  /**
   * The number of the last event that was seen, of this pool; the events after it come first, then what
   * happens. Not given: it begins with the state as it is.
   */
  readonly after?: number;
  /** Ends the iteration with ABORTED. */
  readonly signal?: AbortSignal;
}

/** All that the events tell of, as it is. Forget what you knew. */
export interface StateSnapshot {
  readonly type: "state";
  /** Events with a higher number follow; the first of them may be in the state already. */
  readonly number: number;
  /**
   * "start": no `after` was given. "behind": the events after it are no longer kept, or are of another
   * pool. "restart": the daemon was started anew, maybe after a crash.
   */
  readonly because: "start" | "behind" | "restart";
  readonly pool: PoolStatus;
  /** As `client.list()` has them. */
  readonly devices: readonly Device[];
}

/**
 * What happened. `number` grows, by more than one where what came between is not for this user; `atMs`
 * is milliseconds since 1970. Match on `type`.
 */
export type PoolEvent = StateSnapshot | Exclude<EventInHand, { readonly type: "pool-opened" }>;

export interface EventLogOptions {
  /** The number of an event of this pool: those after it. Not given: all that are kept. */
  readonly after?: number;
  /** Goes on with what happens, until one breaks out of the loop. */
  readonly follow?: boolean;
  /** Ends the iteration with ABORTED. */
  readonly signal?: AbortSignal;
}

/** Events after `after` that the log no longer has: whoever wanted them came too late. */
export interface LostEvents {
  readonly type: "lost";
  /** From this one on. */
  readonly first: number;
  /** Up to this one. */
  readonly number: number;
}

/** As PoolEvent; the daemon's starts are events here, and there is no state. Match on `type`. */
export type LoggedEvent = LostEvents | EventInHand;

export async function* readEvents(
  requests: Requests,
  options: EventsOptions,
): AsyncGenerator<PoolEvent, never, undefined> {
  const { signal } = options;
  let { after } = options;
  for (;;) {
    const params = after === undefined ? {} : { after };
    const next = await requests.call("events.next", params, {
      signal,
      timeoutMs: ANSWER_TIMEOUT_MS,
    });
    const { state, last } = next;
    if (state !== undefined) {
      yield {
        type: "state",
        number: last,
        because: state.because,
        pool: statusFromWire(state.pool),
        devices: state.devices.map(deviceFromWire),
      };
    }
    for (const event of next.events) {
      // The daemon's start it tells by the state.
      if (!isKnownEvent(event) || event.type === "pool-opened") continue;
      yield eventFromWire(event) as PoolEvent;
    }
    after = last;
  }
}

export async function* readEventLog(
  requests: Requests,
  options: EventLogOptions,
): AsyncGenerator<LoggedEvent, void, undefined> {
  const { signal, follow = false } = options;
  let { after } = options;
  /** Where a reader who does not follow stops, whatever happens meanwhile. */
  let end: number | undefined;
  for (;;) {
    const params = after === undefined ? {} : { after };
    const page = await requests.call("events.list", params, { signal });
    if (after !== undefined && page.oldest > after + 1) {
      yield { type: "lost", first: after + 1, number: page.oldest - 1 };
    }
    yield* knownOf(page.events);
    after = page.last;
    end ??= page.newest;
    if (!follow && after >= end) return;
    if (after < page.newest) continue;
    for (;;) {
      const call = { signal, timeoutMs: ANSWER_TIMEOUT_MS };
      const next: MethodResult<"events.next"> = await requests.call("events.next", { after }, call);
      // The log has the events that the state stands for.
      if (next.state !== undefined) break;
      yield* knownOf(next.events);
      after = next.last;
    }
  }
}

/** Without those of a newer daemon. */
function knownOf(
  events: readonly (KnownEvent | { readonly type: string })[],
): readonly EventInHand[] {
  return events.filter(isKnownEvent).map(eventFromWire);
}

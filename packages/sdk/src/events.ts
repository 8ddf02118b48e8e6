/** What happens in the pool, one thing after another, over cuts and restarts. */
import type { KnownEvent } from "@thinpool/protocol";
import { isKnownEvent } from "@thinpool/protocol";
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

type Bytes = "sizeBytes" | "fromBytes" | "usedBytes" | "totalBytes" | "dataBytes" | "metadataBytes";

/** The wire's event with its sizes as bigint. */
type WithBigInts<E> = E extends unknown
  ? { readonly [K in keyof E]: K extends Bytes ? bigint : E[K] }
  : never;

/**
 * What happened. `number` grows, by more than one where what came between is not for this user; `atMs`
 * is milliseconds since 1970. Match on `type`.
 */
export type PoolEvent = StateSnapshot | WithBigInts<KnownEvent>;

const BYTES: ReadonlySet<string> = new Set<Bytes>([
  "sizeBytes",
  "fromBytes",
  "usedBytes",
  "totalBytes",
  "dataBytes",
  "metadataBytes",
]);

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
      if (isKnownEvent(event)) yield eventFromWire(event);
    }
    after = last;
  }
}

function eventFromWire(event: KnownEvent): WithBigInts<KnownEvent> {
  const fields = Object.entries(event).map(([key, value]) => [
    key,
    BYTES.has(key) && typeof value === "string" ? BigInt(value) : value,
  ]);
  // The keys are the same, and those of Bytes are what the type says.
  return Object.fromEntries(fields) as WithBigInts<KnownEvent>;
}

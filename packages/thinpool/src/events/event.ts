/** What a pool tells of itself, numbered without gaps. Sizes are bigint; on the wire they are strings. */
import type { PoolState } from "../device.ts";

/** How much is left of a space, the best first. */
export type SpaceLevel =
  /** More than its low water is free. */
  | "ample"
  /** No more than its low water is free: growth is tried. */
  | "low"
  /** Less than its floor is free: creating is refused. */
  | "below-floor"
  | "full";

export type PoolEventBody =
  | { readonly type: "pool-created" }
  /** Everything before it may have ended in a crash: read the list of devices anew. */
  | { readonly type: "pool-opened" }
  | { readonly type: "pool-state"; readonly from: PoolState; readonly to: PoolState }
  | {
      readonly type: "space";
      readonly space: "data" | "metadata";
      readonly from: SpaceLevel;
      readonly to: SpaceLevel;
      readonly usedBytes: bigint;
      readonly totalBytes: bigint;
    }
  | {
      readonly type: "grown";
      readonly dataBytes: bigint;
      readonly metadataBytes: bigint;
      /** "policy": by itself. "caller": `extend`. "recovery": a crash had interrupted it. */
      readonly by: "policy" | "caller" | "recovery";
    }
  /** Growth was tried and failed. Told once per reason, not per attempt. */
  | { readonly type: "growth-failed"; readonly reason: string }
  /** A space is low and can't grow; `reason` says what ends it. */
  | { readonly type: "exhausted"; readonly space: "data" | "metadata"; readonly reason: string }
  /** The kernel's answer to writes that find no block, changed by the policy. */
  | { readonly type: "no-space-answer"; readonly answer: "queue_if_no_space" | "error_if_no_space" }
  | {
      readonly type: "forecast";
      readonly space: "data" | "metadata";
      /** Until nothing more can be had, growth included. */
      readonly secondsToExhausted: number;
    }
  | { readonly type: "policy-changed" }
  /** A removed device's blocks are free in the pool, but stay allocated in the host's file. */
  | { readonly type: "not-given-back"; readonly name: string; readonly reason: string }
  /** The kernel could not delete a removed device's blocks: the next open does. */
  | { readonly type: "removal-unfinished"; readonly name: string; readonly reason: string }
  | DeviceEventBody
  /** The event that had this number first belonged to an operation that was undone. */
  | { readonly type: "undone"; readonly was: string };

/** Which device, as it was then: of a removed one there is no record any more. */
interface EventDevice {
  readonly name: string;
  readonly deviceUuid: string;
  readonly ownerUid: number;
}

export type DeviceEventBody = EventDevice &
  (
    | {
        readonly type: "device-created";
        readonly originUuid: string | undefined;
        readonly sizeBytes: bigint;
      }
    | { readonly type: "device-removed" }
    | { readonly type: "device-renamed"; readonly from: string }
    | {
        readonly type: "device-resized";
        readonly sizeBytes: bigint;
        readonly fromBytes: bigint;
      }
    | { readonly type: "device-activated" }
    | { readonly type: "device-deactivated" }
  );

export type PoolEvent = PoolEventBody & {
  /** From 1 on, without gaps. */
  readonly number: number;
  readonly atMs: number;
};

/** Fields that are bigint, whatever the event: JSON has none, so they are kept as strings. */
const BIGINT_FIELDS: ReadonlySet<string> = new Set([
  "usedBytes",
  "totalBytes",
  "dataBytes",
  "metadataBytes",
  "sizeBytes",
  "fromBytes",
]);

export function detailOf(body: PoolEventBody): string {
  return JSON.stringify(body, (key, value: unknown) => {
    if (key === "type") return undefined;
    return typeof value === "bigint" ? value.toString() : value;
  });
}

export function bodyOf(type: string, detail: string): PoolEventBody {
  const fields = JSON.parse(detail, (key, value: unknown) =>
    BIGINT_FIELDS.has(key) && typeof value === "string" ? BigInt(value) : value,
  ) as Record<string, unknown>;
  if (type === "device-created") fields["originUuid"] ??= undefined;
  // Written through `detailOf` or by the ledger's triggers only.
  return { type, ...fields } as unknown as PoolEventBody;
}

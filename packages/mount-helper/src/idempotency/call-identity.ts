/** What a call with an idempotency key is, and the uuids of what it makes: both follow from it alone. */
import { createHash } from "node:crypto";
import type { KnownRequest } from "@thinpool/protocol";

/** The same for the same method and parameters, in whatever order the client wrote them. */
export function callSha256({ method, params }: KnownRequest): string {
  return createHash("sha256")
    .update(JSON.stringify([method, sorted(params)]))
    .digest("hex");
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.map(([name, inner]) => [name, sorted(inner)]);
}

/**
 * The `index`-th uuid of the call, of RFC 9562's version 8 ("made by the application's own rule"): 122
 * bits of SHA-256 over pool, user, key and call. `after`: of what the call made before, which has ended.
 */
export function derivedUuid(
  call: {
    readonly poolUuid: string;
    readonly uid: number;
    readonly key: string;
    readonly callSha256: string;
  },
  index: number,
  after?: string,
): string {
  const { poolUuid, uid, key } = call;
  const parts = [poolUuid, uid, key, call.callSha256, index];
  const text = JSON.stringify(after === undefined ? parts : [...parts, after]);
  const bytes = createHash("sha256").update(text).digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return [...groups, hex.slice(20)].join("-");
}

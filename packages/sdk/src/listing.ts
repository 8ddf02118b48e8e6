/** All devices, page by page: no answer is larger than a message may be, and none keeps the daemon long. */
import type { MethodParams } from "@thinpool/protocol";
import { MAX_DEVICES_PER_PAGE } from "@thinpool/protocol";
import { clientError } from "./errors.ts";
import type { CallOptions, Requests } from "./requests.ts";
import type { Device } from "./resources.ts";
import { deviceFromWire } from "./resources.ts";

/** Of one list, so a million devices; further ones fail the call with LIMIT. */
export const MAX_LIST_PAGES = 2_000;

type Wanted = Omit<MethodParams<"device.list">, "after" | "limit">;

/** By name. The time limit is for all pages together. */
export async function listDevices(
  requests: Requests,
  wanted: Wanted,
  options: CallOptions,
): Promise<readonly Device[]> {
  const context = { operation: "device.list", object: "the pool" };
  const deadline = performance.now() + (options.timeoutMs ?? requests.timeoutMs);
  /** By uuid: one that is renamed between two pages can come twice, and the second is how it is. */
  const found = new Map<string, Device>();
  let after: string | undefined;
  for (let page = 0; page < MAX_LIST_PAGES; page += 1) {
    const params = { ...wanted, limit: MAX_DEVICES_PER_PAGE };
    const timeoutMs = Math.max(1, deadline - performance.now());
    const answer = await requests.call(
      "device.list",
      after === undefined ? params : { ...params, after },
      { signal: options.signal, timeoutMs },
    );
    // An older daemon knows no pages, and answers with all at once.
    const { devices, next } = Array.isArray(answer) ? { devices: answer } : answer;
    for (const device of devices) {
      found.delete(device.uuid);
      found.set(device.uuid, deviceFromWire(device));
    }
    if (next === undefined) return [...found.values()];
    if (after !== undefined && next <= after) {
      const reason = `the page behind ${after} says that the next one begins behind ${next}`;
      throw clientError("PROTOCOL", { ...context, reason });
    }
    after = next;
  }
  const reason = `it has more than ${MAX_LIST_PAGES * MAX_DEVICES_PER_PAGE} devices for this user`;
  throw clientError("LIMIT", { ...context, reason });
}

/** Labels: what users write on devices to find them again. */
import { PoolError } from "./errors.ts";
import type { Labels } from "./store/records.ts";

export const MAX_LABELS = 32;
export const MAX_LABEL_LENGTH = 128;
const KEY = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;
/** No space, quote or control character: a label can stand in a shell command or a log line as it is. */
const VALUE = /^[A-Za-z0-9._/:@+=,-]*$/;

/** The labels in the order of their keys. POOL_OPTION_INVALID where one is too long or too many are. */
export function checkLabels(labels: Labels): Labels {
  const entries = Object.entries(labels);
  if (entries.length > MAX_LABELS) {
    refuse(`${entries.length} labels`, `a device has at most ${MAX_LABELS}`);
  }
  for (const [key, value] of entries) {
    if (key.length > MAX_LABEL_LENGTH || !KEY.test(key)) {
      refuse(JSON.stringify(key.slice(0, MAX_LABEL_LENGTH)), "it is no valid key of a label");
    }
    if (typeof value !== "string" || value.length > MAX_LABEL_LENGTH || !VALUE.test(value)) {
      refuse(`label ${key}`, "its value is not valid");
    }
  }
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function refuse(object: string, reason: string): never {
  throw new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "check of labels",
    object,
    reason,
    hint: `Keys and values have up to ${MAX_LABEL_LENGTH} letters, digits and ._/- (values also :@+=,).`,
  });
}

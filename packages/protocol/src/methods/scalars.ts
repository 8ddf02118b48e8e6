/** The values that several methods share. 64-bit values are decimal strings on the wire. */
import * as v from "valibot";

const MAX_U64 = "18446744073709551615";
/** A 64-bit unsigned value as a decimal string. */
export const u64 = v.pipe(
  v.string(),
  v.regex(/^(0|[1-9][0-9]{0,19})$/),
  // Two decimal strings of the same length compare as their values do.
  v.check(
    (text) => text.length < MAX_U64.length || (text.length === MAX_U64.length && text <= MAX_U64),
    "Invalid u64: it is larger than 2^64-1",
  ),
);
export const deviceName = v.pipe(
  v.string(),
  v.maxLength(64),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._+-]*$/),
);
export const uuid = v.pipe(v.string(), v.uuid());
export const uid = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_fffe));
/** A label's key or value; the engine says which characters. */
export const label = v.pipe(v.string(), v.maxLength(128));

/** As `v.record`, which passes over labels that are named as what an object has by itself ("constructor"). */
export function labelsTo<V extends v.GenericSchema>(
  value: V,
): v.RecordSchema<typeof label, V, undefined> {
  const record = v.record(label, value);
  const entries = v.array(v.tuple([label, value]));
  return {
    ...record,
    "~run"(dataset, config) {
      const input = dataset.value;
      const known = record["~run"](dataset, config);
      if (!known.typed || Object.keys(known.value).length === Object.keys(input as object).length) {
        return known;
      }
      const all = entries["~run"]({ value: Object.entries(input as object) }, config);
      // The entries' types are the record's; the compiler can't follow.
      return { ...all, value: all.typed ? Object.fromEntries(all.value) : input } as typeof known;
    },
  };
}

/** How many of something there are. */
export const count = v.pipe(v.number(), v.integer(), v.minValue(0));
/** Milliseconds since 1970. */
export const timeMs = v.pipe(v.number(), v.integer(), v.minValue(0));
export const filesystem = v.picklist(["ext4", "xfs", "none"]);
/** A token's secret: 256 bits in base64url. */
export const tokenSecret = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/));

/**
 * Chosen by the caller for one change that it wants once: printable ASCII without spaces. All methods
 * that change something take it beside their own parameters.
 */
export const idempotencyKey = v.pipe(v.string(), v.regex(/^[!-~]{1,64}$/));

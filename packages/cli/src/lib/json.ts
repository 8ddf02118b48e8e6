/** JSON as the protocol has it: 64-bit values are decimal strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_, field: unknown) => (typeof field === "bigint" ? field.toString() : field),
    2,
  );
}

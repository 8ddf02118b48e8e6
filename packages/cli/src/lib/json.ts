/** JSON as the protocol has it: 64-bit values are decimal strings. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, withBigInts, 2);
}

/** One value of several, each on a line. */
export function toJsonLine(value: unknown): string {
  return `${JSON.stringify(value, withBigInts)}\n`;
}

function withBigInts(_key: string, field: unknown): unknown {
  return typeof field === "bigint" ? field.toString() : field;
}

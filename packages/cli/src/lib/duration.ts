/** Lengths of time as people write and read them. */
import { UsageError } from "./errors.ts";

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
] as const;
const PATTERN = /^([0-9]{1,7})(d|h|m|s)$/;

/** "30s", "45m", "8h", "7d" to milliseconds. A number without a unit is refused: tools differ in it. */
export function parseDuration(text: string): number {
  const [, count = "", unit = ""] = PATTERN.exec(text.trim()) ?? [];
  const ms = Number(count) * (UNITS.find(([name]) => name === unit)?.[1] ?? 0);
  if (ms > 0) return ms;
  throw new UsageError({
    reason: `${JSON.stringify(text)} is no length of time`,
    hint: "Write a whole number and its unit: 30s, 45m, 8h or 7d.",
  });
}

/** "3d 4h", "5m 10s", "0s": the two largest units, rounded down. */
export function formatDuration(ms: number): string {
  const largest = UNITS.findIndex(([, unitMs]) => ms >= unitMs);
  if (largest < 0) return "0s";
  let rest = ms;
  const parts = UNITS.slice(largest, largest + 2).map(([unit, unitMs]) => {
    const count = Math.floor(rest / unitMs);
    rest -= count * unitMs;
    return count === 0 ? "" : `${count}${unit}`;
  });
  return parts.filter((part) => part !== "").join(" ");
}

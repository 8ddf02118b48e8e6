/** Sizes as people write and read them. */
import { UsageError } from "./errors.ts";

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;
const DECIMAL = ["B", "KB", "MB", "GB", "TB", "PB", "EB"] as const;
const PATTERN = /^([0-9]{1,20})(?:\.([0-9]{1,9}))? ?([A-Za-z]{1,3})$/;
const MAX_U64 = (1n << 64n) - 1n;

/** The bytes of one unit: K, KiB … count by 1024, KB … by 1000; undefined for what is no unit. */
function bytesPerUnit(unit: string): bigint | undefined {
  const wanted = unit.toLowerCase();
  const is = (name: string): boolean => name.toLowerCase() === wanted;
  const decimal = DECIMAL.findIndex(is);
  if (decimal >= 0) return 1000n ** BigInt(decimal);
  const binary = BINARY.findIndex((name) => is(name) || (name !== "B" && is(name.slice(0, 1))));
  return binary >= 0 ? 1024n ** BigInt(binary) : undefined;
}

/**
 * "100GiB", "100G", "1.5 TiB", "512B" to bytes. A number without a unit is refused: tools differ in
 * what it would mean, and a pool of the wrong size is not seen until it is full.
 */
export function parseSize(text: string): bigint {
  const [, whole = "", fraction = "", unit = ""] = PATTERN.exec(text.trim()) ?? [];
  const perUnit = bytesPerUnit(unit);
  if (perUnit === undefined) {
    throw new UsageError({
      reason: `${JSON.stringify(text)} is no size`,
      hint: "Write a number and its unit, for example 10GiB, 512MiB or 64KiB.",
    });
  }
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * perUnit;
  const bytes = scaled / scale;
  if (scaled % scale !== 0n || bytes === 0n || bytes > MAX_U64) {
    throw new UsageError({
      reason: `${JSON.stringify(text)} is no whole number of bytes between 1 and 2^64-1`,
      hint: "Write another size, for example 10GiB.",
    });
  }
  return bytes;
}

/** "10 GiB", "1.5 MiB", "512 B": rounded to one decimal, so not for calculating with. */
export function formatSize(bytes: bigint): string {
  const power = BINARY.findLastIndex((_, index) => bytes >= 1024n ** BigInt(index));
  const unit = BINARY[Math.max(power, 0)] ?? "B";
  const tenths = (bytes * 10n * 2n + perPower(power)) / (perPower(power) * 2n);
  const fraction = tenths % 10n === 0n ? "" : `.${tenths % 10n}`;
  return `${tenths / 10n}${fraction} ${unit}`;
}

function perPower(power: number): bigint {
  return 1024n ** BigInt(Math.max(power, 0));
}

/** The part of a whole in percent, with one decimal: "12.5%". */
export function formatShare(part: bigint, whole: bigint): string {
  return whole === 0n ? "-" : `${(Number((part * 1000n) / whole) / 10).toFixed(1)}%`;
}

/** When a space will be full, from how its use went: a line through the recent samples. */

export interface UseSample {
  /** Of a clock that only goes forward. */
  readonly atMs: number;
  readonly usedBytes: bigint;
}

/** An hour at the default interval. */
export const MAX_SAMPLES = 360;
/** Pairs are compared, so their number is bounded: 60 samples are 1770 pairs. */
const MAX_FITTED_SAMPLES = 60;
/** Fewer say nothing, nor do those of a shorter time. */
export const MIN_SAMPLES = 6;
export const MIN_SPAN_MS = 5_000;
/** The rise over the window must be so many times the typical distance from the line. */
const NOISE_FACTOR = 2;

interface Point {
  readonly x: number;
  readonly y: number;
}

/** Bounded memory of one space's use. */
export class UseHistory {
  readonly #samples: UseSample[] = [];

  add(sample: UseSample): void {
    this.#samples.push(sample);
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
  }

  /** Bytes per second, or undefined where the use is not growing. */
  growthPerSecond(): number | undefined {
    return growthPerSecond(this.#samples);
  }
}

/**
 * The median slope of all pairs (Theil-Sen): a copied file or a removed device is an outlier, not a
 * trend. Undefined where there are too few samples, where the rise is within the noise, or where the
 * last third no longer rises.
 */
export function growthPerSecond(samples: readonly UseSample[]): number | undefined {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || samples.length < MIN_SAMPLES) return undefined;
  if (last.atMs - first.atMs < MIN_SPAN_MS) return undefined;
  const points = thinned(samples).map(({ atMs, usedBytes }) => ({
    x: (atMs - first.atMs) / 1000,
    // A difference of less than 8 PiB is exact.
    y: Number(usedBytes - first.usedBytes),
  }));
  const slope = medianSlope(points);
  if (slope <= 0) return undefined;
  if (medianSlope(points.slice(-Math.ceil(points.length / 3))) <= 0) return undefined;
  const intercept = median(points.map(({ x, y }) => y - slope * x));
  const noise = median(points.map(({ x, y }) => Math.abs(y - intercept - slope * x)));
  const spanSeconds = (last.atMs - first.atMs) / 1000;
  return slope * spanSeconds > NOISE_FACTOR * noise ? slope : undefined;
}

/** 0 where nothing is free, since then nothing grows any more; else undefined where the use is not growing. */
export function secondsUntil(freeBytes: bigint, perSecond: number | undefined): number | undefined {
  if (freeBytes <= 0n) return 0;
  return perSecond === undefined ? undefined : Math.round(Number(freeBytes) / perSecond);
}

/** Every nth, always with the last. */
function thinned(samples: readonly UseSample[]): readonly UseSample[] {
  const step = Math.ceil(samples.length / MAX_FITTED_SAMPLES);
  return samples.filter((_, index) => (samples.length - 1 - index) % step === 0);
}

function medianSlope(points: readonly Point[]): number {
  const slopes: number[] = [];
  for (const [index, from] of points.entries()) {
    for (const to of points.slice(index + 1)) {
      if (to.x > from.x) slopes.push((to.y - from.y) / (to.x - from.x));
    }
  }
  return slopes.length === 0 ? 0 : median(slopes);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

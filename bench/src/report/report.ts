import type { Machine } from "../machine.ts";
import type { GuestResult } from "../result.ts";
import { summarize, type Summary } from "../statistics.ts";
import { type AllSeries, type Target, targets } from "./targets.ts";

export interface Report {
  readonly version: 1;
  readonly quick: boolean;
  readonly seed: number;
  readonly measuredAt: string;
  readonly machine: Machine;
  /** The machine that the guest ran on. */
  readonly host: { readonly cpu: string; readonly cpus: number; readonly load: number };
  /** What each section took. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
  /** By name; null where this run did not measure it. */
  readonly ratios: Readonly<Record<string, number | null>>;
  readonly targets: readonly Target[];
  readonly summaries: Readonly<Record<string, Summary & { readonly unit: string }>>;
  readonly series: AllSeries;
}

const DIGITS = 1000;

function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Math.round(value * DIGITS) / DIGITS;
}

export function report(run: {
  readonly guest: GuestResult;
  readonly host: Report["host"];
  readonly quick: boolean;
  readonly seed: number;
}): Report {
  const { guest, host, quick, seed } = run;
  const { series } = guest;
  const judged = targets(series);
  const ratios: Record<string, number | null> = {};
  for (const { name, measured, withoutStarts } of judged) {
    ratios[name] = rounded(measured);
    if (withoutStarts !== undefined) ratios[`${name}_without_starts`] = rounded(withoutStarts);
  }
  return {
    version: 1,
    quick,
    seed,
    measuredAt: new Date().toISOString(),
    machine: guest.machine,
    host,
    seconds: guest.seconds,
    notes: guest.notes,
    ratios,
    targets: judged,
    summaries: Object.fromEntries(
      Object.entries(series).map(([name, { unit, samples }]) => [
        name,
        { unit, ...summarize(samples) },
      ]),
    ),
    series,
  };
}

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
  /** Those of RATIOS; null where this run did not measure it. */
  readonly ratios: Readonly<Record<string, number | null>>;
  /** All other figures that something was aimed at, and ratios with process starts taken off. */
  readonly further: Readonly<Record<string, number | null>>;
  readonly targets: readonly Target[];
  readonly summaries: Readonly<Record<string, Summary & { readonly unit: string }>>;
  readonly series: AllSeries;
}

/** What later work and other programs read: these names stay. */
export const RATIOS: readonly string[] = [
  "snapshot_activate_vs_c",
  "snapshot_activate_vs_dmsetup",
  "snapshot_activate_vs_lvm",
  "snapshot_activate_vs_containerd",
  "daemon_vs_engine",
  "throughput_100_vs_1",
  "cost_10000_vs_10",
];
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
  const measured = new Map(judged.map((target) => [target.name, rounded(target.measured)]));
  const further: Record<string, number | null> = {};
  for (const { name, withoutStarts } of judged) {
    if (!RATIOS.includes(name)) further[name] = measured.get(name) ?? null;
    if (withoutStarts !== undefined) further[`${name}_without_starts`] = rounded(withoutStarts);
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
    ratios: Object.fromEntries(RATIOS.map((name) => [name, measured.get(name) ?? null])),
    further,
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

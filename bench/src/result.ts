import type { Machine } from "./machine.ts";
import type { Series } from "./record.ts";

/** From the host to the guest. */
export interface GuestOptions {
  readonly quick: boolean;
  readonly seed: number;
  /** Multiplies the number of runs. */
  readonly scale: number;
  /** Names of sections; empty: all that the run has. */
  readonly only: readonly string[];
  /** On the scratch folder that both see. */
  readonly resultFile: string;
}

/** From the guest to the host. */
export interface GuestResult {
  readonly machine: Machine;
  /** What each section took. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly notes: readonly string[];
  readonly series: Readonly<Record<string, Series>>;
}

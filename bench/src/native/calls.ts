/** What daemon.ts and round-trip.ts measure alike. */
export const DEVICE = "base";
/** Until the code is compiled. */
export const WARM_CALLS = 2_000;
export const CALLS = 4_000;

/** From daemon.ts: each call of the engine, in ms. */
export interface EngineCalls {
  readonly ms: readonly number[];
}

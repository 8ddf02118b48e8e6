/** What daemon.ts and round-trip.ts measure alike. */
export const DEVICE = "base";
/** Until V8 has compiled what is called, in all three processes: some seconds of a daemon's life. */
export const WARM_CALLS = 10_000;
export const CALLS = 4_000;

/** From daemon.ts: each call of the engine, in ms. */
export interface EngineCalls {
  readonly ms: readonly number[];
}

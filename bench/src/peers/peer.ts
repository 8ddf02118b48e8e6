/** One way to get a snapshot of a base as an active device, and to be rid of it again. */
export interface Peer {
  /** Its name in series and tables. */
  readonly name: "engine" | "c" | "c-recording" | "dmsetup" | "lvm" | "containerd";
  /** Makes and activates one; milliseconds. */
  snapshot(): Promise<number>;
  /** Removes the one made last; milliseconds, or undefined where it can't be timed. */
  remove(): Promise<number | undefined>;
  close(): Promise<void>;
}

/** Milliseconds of one call. */
export async function timed(call: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await call();
  return performance.now() - start;
}

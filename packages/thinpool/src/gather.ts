/** What comes within a few turns of the event loop is done together: one fsync for all of it. */
import { setImmediate } from "node:timers/promises";

/** A turn that brings none may be one in which something else was done. */
const QUIET_TURNS = 2;

export interface Gathering {
  /** How many have come. */
  readonly count: () => number;
  /** How many may still come, with those that have: where all are there nobody is waited for. */
  readonly coming: () => number;
  readonly most: number;
}

/** Waits until all that may come have, some turns bring no more, or there are `most`. */
export async function gather({ count, coming, most }: Gathering): Promise<void> {
  // Those that are asked for in this turn come by themselves.
  await Promise.resolve();
  let quiet = 0;
  for (
    let before = count();
    quiet < QUIET_TURNS && before < Math.min(most, coming());
    before = count()
  ) {
    await setImmediate();
    quiet = count() > before ? 0 : quiet + 1;
  }
}

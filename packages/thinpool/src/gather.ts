/** What comes within a few turns of the event loop is done together: one fsync for all of it. */
import { setImmediate } from "node:timers/promises";

/** A turn that brings none may be one in which something else was done. */
const QUIET_TURNS = 2;

export interface Gathering {
  /** How many have come. */
  readonly count: () => number;
  /** How many may be on their way to it at this moment, those that have come among them. */
  readonly coming: () => number;
  readonly most: number;
}

/** Waits until some turns bring no more, or there are `most`; a lone one waits for nobody. */
export async function gather({ count, coming, most }: Gathering): Promise<void> {
  // Those that are asked for in this turn are on their way by then.
  await Promise.resolve();
  if (coming() <= 1) return;
  let quiet = 0;
  for (let before = count(); quiet < QUIET_TURNS && before < most; before = count()) {
    await setImmediate();
    quiet = count() > before ? 0 : quiet + 1;
  }
}

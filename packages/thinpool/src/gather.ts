/** What comes within a few turns of the event loop is done together: one fsync for all of it. */
import { setImmediate } from "node:timers/promises";

/** A turn that brings none may be one in which something else was done. */
const QUIET_TURNS = 2;

/** Waits until some turns bring no more, or there are `most`. */
export async function gather(count: () => number, most: number): Promise<void> {
  let quiet = 0;
  for (let before = count(); quiet < QUIET_TURNS && before < most; before = count()) {
    await setImmediate();
    quiet = count() > before ? 0 : quiet + 1;
  }
}

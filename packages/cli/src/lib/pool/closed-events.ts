/** The events of a pool that no daemon serves, as the daemon would tell them to root. */
import { eventToRoot } from "@thinpool/mount-helper";
import { eventFromWire } from "@thinpool/protocol";
import type { LoggedEvent } from "@thinpool/sdk";
import { readClosedPool } from "@thinpool/thinpool";
import { UsageError } from "../errors.ts";
import { withKernel } from "../kernel.ts";

/** Nothing is opened: what is wrong with a pool that can't be opened stands here as well. */
export async function closedEvents(options: {
  readonly folder: string;
  readonly after: number | undefined;
}): Promise<readonly LoggedEvent[]> {
  const { folder, after } = options;
  const from = after === undefined ? {} : { eventsAfter: after };
  const { events, firstEventNumber, lastEventNumber } = await withKernel((kernel) =>
    readClosedPool({ folder, kernel, ...from }),
  );
  if (after !== undefined && after > lastEventNumber) {
    throw new UsageError({
      reason: `the pool's last event is ${lastEventNumber}`,
      hint: "Give the number of an event of this pool, or 0 for all that are kept.",
    });
  }
  const told = events
    .map(eventToRoot)
    .filter((event) => event !== undefined)
    .map(eventFromWire);
  return after !== undefined && firstEventNumber > after + 1
    ? [{ type: "lost", first: after + 1, number: firstEventNumber - 1 }, ...told]
    : told;
}

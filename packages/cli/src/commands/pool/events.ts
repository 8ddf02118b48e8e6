import { Flags } from "@oclif/core";
import { bytesFlag } from "../../lib/flags.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { renderEvents } from "../../lib/pool/records.ts";

export default class PoolEvents extends PoolCommand {
  static override summary = "Show what happened to the pool and its devices, the oldest first.";
  static override description =
    "The last ten thousand are kept; each has a number, without gaps. Needs root, and no process that has the pool open.";
  static override flags = {
    bytes: bytesFlag,
    after: Flags.integer({ summary: "Only those with a higher number.", default: 0, min: 0 }),
  };

  async run() {
    const { flags } = await this.parse(PoolEvents);
    const { folder, after: eventsAfter } = flags;
    const { readClosedPool } = await import("@thinpool/thinpool");
    const { events } = await this.withKernel((kernel) =>
      readClosedPool({ folder, kernel, eventsAfter }),
    );
    this.log(renderEvents(events, flags));
    return events;
  }
}

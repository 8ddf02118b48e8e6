import { Flags } from "@oclif/core";
import type { EventLogOptions, LoggedEvent } from "@thinpool/sdk";
import { DaemonCommand, type Where } from "../../lib/daemon-command.ts";
import { report } from "../../lib/errors.ts";
import { withInterruption } from "../../lib/interruption.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { toJsonLine } from "../../lib/json.ts";
import { EVENT_HEADING, eventLine } from "../../lib/pool/event-lines.ts";
import { readerGone } from "../../lib/reader.ts";

export default class PoolEvents extends DaemonCommand {
  static override summary = "Show what happened to the pool and its devices, the oldest first.";
  static override description =
    "The last ten thousand are kept; each has a number. A number that is missing is another user's event, or of what was undone; one line, `lost`, stands for those after --after that are no longer kept.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> --after 1200",
    "<%= config.bin %> <%= command.id %> --follow --json",
  ];
  static override flags = {
    bytes: bytesFlag,
    after: Flags.integer({
      summary: "Only those with a higher number; without it all that are kept.",
      helpValue: "NUMBER",
      min: 0,
    }),
    follow: Flags.boolean({
      char: "f",
      summary: "Go on as they happen, until Ctrl-C; with --json each is an object on a line.",
      // Nothing happens to a pool that no daemon serves.
      exclusive: ["direct"],
    }),
  };

  async run() {
    const { flags } = await this.parse(PoolEvents);
    const { after, bytes, follow } = flags;
    const print = (event: LoggedEvent): void => this.log(eventLine(event, { bytes }));
    if (!follow) {
      const events = await this.#kept(flags, after);
      this.log(EVENT_HEADING);
      for (const event of events) print(event);
      return events;
    }
    const json = this.jsonEnabled();
    this.log(EVENT_HEADING);
    await this.#follow(flags, after, (event) => {
      if (json) process.stdout.write(toJsonLine(event));
      else print(event);
    });
    return undefined;
  }

  async #kept(where: Where, after: number | undefined): Promise<readonly LoggedEvent[]> {
    if (where.direct) {
      const { closedEvents } = await import("../../lib/pool/closed-events.ts");
      return await closedEvents({ folder: where.folder, after });
    }
    const events: LoggedEvent[] = [];
    await this.withClient(where, async (client) => {
      for await (const event of client.eventLog(from(after))) events.push(event);
    });
    return events;
  }

  /** Until the first SIGINT or SIGTERM, or the reader's end, which are its proper ends. */
  #follow(
    where: Where,
    after: number | undefined,
    take: (event: LoggedEvent) => void,
  ): Promise<void> {
    return withInterruption(async (interruption) => {
      const signal = AbortSignal.any([interruption, readerGone]);
      try {
        await this.withClient(where, async (client) => {
          const log = client.eventLog({ ...from(after), follow: true, signal });
          for await (const event of log) take(event);
        });
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    });
  }

  /** Whoever reads objects by lines gets a failure as one as well. */
  override async catch(thrown: unknown): Promise<void> {
    const lines = this.argv.some((word) => word === "--follow" || word === "-f");
    const verbose = this.argv.includes("--verbose");
    report(thrown, { json: this.jsonEnabled(), verbose, lines, hints: this.hints() });
  }
}

function from(after: number | undefined): EventLogOptions {
  return after === undefined ? {} : { after };
}

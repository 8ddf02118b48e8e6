/** Commands that speak with the daemon, or with `--direct` do its work themselves, as root. */
import { Flags } from "@oclif/core";
import type { Client } from "@thinpool/sdk";
import { BaseCommand } from "./base-command.ts";
import { folderFlag, socketFlag } from "./flags.ts";

/** Where a command finds its pool. */
export interface Where {
  readonly socket: string;
  readonly direct: boolean;
  readonly folder: string;
  readonly verbose: boolean;
}

export abstract class DaemonCommand extends BaseCommand {
  static override baseFlags = {
    ...BaseCommand.baseFlags,
    socket: socketFlag,
    direct: Flags.boolean({
      summary:
        "Work on the pool of --folder without a daemon; only root can, and none may be running.",
    }),
    folder: folderFlag,
  };

  /** Connects, does the work, and closes the connection however it ended. */
  protected async withClient<Result>(
    where: Where,
    work: (client: Client) => Promise<Result>,
  ): Promise<Result> {
    if (where.direct) {
      const { withDirectClient } = await import("./direct.ts");
      return await withDirectClient(where, work);
    }
    const { connect } = await import("@thinpool/sdk");
    const client = await connect({ socketPath: where.socket });
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  }
}

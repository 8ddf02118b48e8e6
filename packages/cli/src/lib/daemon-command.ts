/** Commands that speak with the daemon; they need no privileges. */
import type { Client } from "@thinpool/sdk";
import { BaseCommand } from "./base-command.ts";
import { socketFlag } from "./flags.ts";

export abstract class DaemonCommand extends BaseCommand {
  static override baseFlags = { ...BaseCommand.baseFlags, socket: socketFlag };

  /** Connects, does the work, and closes the connection however it ended. */
  protected async withClient<Result>(
    socketPath: string,
    work: (client: Client) => Promise<Result>,
  ): Promise<Result> {
    const { connect } = await import("@thinpool/sdk");
    const client = await connect({ socketPath });
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  }
}

/** Commands that speak with the daemon, or with `--direct` do its work themselves, as root. */
import { Flags } from "@oclif/core";
import type { Client } from "@thinpool/sdk";
import { BaseCommand } from "./base-command.ts";
import { UsageError } from "./errors.ts";
import { folderFlag } from "./flags.ts";
import type { Target } from "./target.ts";
import { parsePath } from "./path.ts";

/** Where a command finds its pool. */
export interface Where extends Target {
  readonly direct: boolean;
  readonly folder: string;
  readonly verbose: boolean;
}

export abstract class DaemonCommand extends BaseCommand {
  static override baseFlags = {
    ...BaseCommand.baseFlags,
    socket: Flags.string({
      summary:
        "Socket of the daemon; without it that of THINPOOL_SOCKET, else /run/thinpool/thinpool.sock.",
      helpValue: "PATH",
      parse: async (path) => parsePath(path),
    }),
    url: Flags.string({
      summary:
        "Daemon of another machine, as wss://HOST:PORT, with the token of THINPOOL_CONNECT_TOKEN or in the file THINPOOL_CONNECT_TOKEN_FILE; without it that of THINPOOL_URL, if set.",
      helpValue: "URL",
    }),
    ca: Flags.string({
      summary:
        "File of the certificates, as PEM, that may vouch for that daemon; without it that of THINPOOL_CA, else the system's.",
      helpValue: "FILE",
      parse: async (path) => parsePath(path),
    }),
    direct: Flags.boolean({
      summary:
        "Work on the pool of --folder without a daemon; only root can, and none may be running.",
      exclusive: ["socket", "url", "ca"],
    }),
    folder: folderFlag,
  };

  protected override hints(): Readonly<Record<string, string>> {
    return {
      POOL_LOCKED:
        "Leave --direct out to ask the daemon that has the pool, or stop that (`systemctl stop thinpoold`, or end `thinpool serve`).",
    };
  }

  /**
   * The daemon has one pool, whatever the folder: who names one may mean another. In the environment it is for
   * all commands.
   */
  #assertFolderIsMeant(): void {
    if (!this.argv.some((word) => word === "--folder" || word.startsWith("--folder="))) return;
    throw new UsageError({
      reason:
        "--folder goes with --direct; without it the daemon's pool is meant, wherever that is",
      hint: "Leave --folder out, name the daemon by --socket, or add --direct.",
    });
  }

  /** Connects, does the work, and closes the connection however it ended. */
  protected async withClient<Result>(
    where: Where,
    work: (client: Client) => Promise<Result>,
  ): Promise<Result> {
    if (where.direct) {
      const { withDirectClient } = await import("./direct.ts");
      return await withDirectClient(where, work);
    }
    this.#assertFolderIsMeant();
    const { connectOptionsOf } = await import("./target.ts");
    const options = await connectOptionsOf(where, process.env);
    const { connect } = await import("@thinpool/sdk");
    const client = await connect(options);
    try {
      return await work(client);
    } finally {
      await client.close();
    }
  }
}

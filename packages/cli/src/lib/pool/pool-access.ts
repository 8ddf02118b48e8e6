/** What its keepers ask of a pool, in both ways: its daemon's pool, and with `--direct` the pool itself. */
import type { BackupEntry, CheckReport, Client, Extended } from "@thinpool/sdk";
import { DaemonCommand, type Where } from "../daemon-command.ts";

export interface PoolAccess {
  check(options: {
    readonly mappings: boolean;
    readonly signal: AbortSignal;
  }): Promise<CheckReport>;
  /** `keep`: how many there are afterwards, at most. */
  backup(options: {
    readonly keep: number | undefined;
    readonly signal: AbortSignal;
  }): Promise<BackupEntry>;
  /** The newest first. */
  backups(): Promise<readonly BackupEntry[]>;
  extend(options: {
    readonly dataBytes: bigint | undefined;
    readonly metadataBytes: bigint | undefined;
    readonly signal: AbortSignal;
  }): Promise<Extended>;
  /** As it is now. */
  extent(): Promise<{
    readonly dataBytes: bigint;
    readonly metadataBytes: bigint;
    readonly onDevices: boolean;
  }>;
}

export abstract class PoolAccessCommand extends DaemonCommand {
  /** A pool that is damaged may be why there is no daemon. */
  protected override hints(): Readonly<Record<string, string>> {
    const isElsewhere =
      this.argv.some((word) => word.startsWith("--url")) ||
      (process.env["THINPOOL_URL"] ?? "") !== "";
    if (isElsewhere) return super.hints();
    const DAEMON_UNREACHABLE =
      "Start the daemon (`systemctl start thinpoold`, or `thinpool serve`), or as root add --direct, for a pool that is closed.";
    return { ...super.hints(), DAEMON_UNREACHABLE };
  }

  protected async withPoolAccess<Result>(
    where: Where,
    work: (pool: PoolAccess) => Promise<Result>,
  ): Promise<Result> {
    if (where.direct) {
      const { closedPoolAccess } = await import("./closed-pool-access.ts");
      return await work(closedPoolAccess(where.folder));
    }
    const { MAX_TIMEOUT_MS } = await import("@thinpool/sdk");
    return await this.withClient(where, (client) => work(ofDaemon(client, MAX_TIMEOUT_MS)));
  }
}

function ofDaemon(client: Client, timeoutMs: number): PoolAccess {
  const { pool } = client;
  return {
    check: (options) => pool.check(options),
    backup: ({ keep, signal }) => pool.backup({ ...(keep === undefined ? {} : { keep }), signal }),
    backups: () => pool.backups(),
    extend: ({ dataBytes, metadataBytes, signal }) =>
      pool.extend({
        ...(dataBytes === undefined ? {} : { dataBytes }),
        ...(metadataBytes === undefined ? {} : { metadataBytes }),
        signal,
        timeoutMs,
      }),
    extent: async () => {
      const { dataTotalBytes, metadataTotalBytes, backing } = await client.status();
      return {
        dataBytes: dataTotalBytes,
        metadataBytes: metadataTotalBytes,
        onDevices: backing === "block",
      };
    },
  };
}

/** What the tests over the simulated kernel share: a pool, a daemon, clients. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { SimKernel } from "@thinpool/dm-sim";
import { createSimKernel } from "@thinpool/dm-sim";
import type { Daemon, DaemonOptions } from "@thinpool/mount-helper";
import { jsonLogger, startDaemon } from "@thinpool/mount-helper";
import type { Client } from "@thinpool/sdk";
import { connect } from "@thinpool/sdk";
import { createPool, type PoolBacking } from "@thinpool/thinpool";

/** A tmpfs: what dies or is cut off here is simulated, so no disk is needed, and none is waited for. */
const MEMORY_FOLDER = "/dev/shm";

export const BACKING: PoolBacking = {
  type: "files",
  dataBytes: 256n << 20n,
  metadataBytes: 4n << 20n,
};
export const DEVICE_BYTES: bigint = 16n << 20n;

export interface World extends AsyncDisposable {
  readonly kernel: SimKernel;
  readonly folder: string;
  readonly parent: string;
  readonly socketPath: string;
  readonly mountRoot: string;
  readonly log: string[];
  start(more?: Pick<DaemonOptions, "tcp" | "policyFile" | "sessionGraceMs">): Promise<Daemon>;
  connect(): Promise<Client>;
}

/** A pool with the device "base", and a daemon and clients for it, all in this process. */
export async function world(): Promise<World> {
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-e2e-"));
  const kernel = createSimKernel({ files: true });
  const folder = join(parent, "pool");
  const socketPath = join(parent, "run", "thinpool.sock");
  const mountRoot = join(parent, "mounts");
  const blockRoot = join(parent, "blocks");
  const log: string[] = [];
  const pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.detach();
  return {
    kernel,
    folder,
    parent,
    socketPath,
    mountRoot,
    log,
    start: (more = {}) => {
      const logger = jsonLogger((line) => log.push(line));
      return startDaemon({
        folder,
        socketPath,
        kernel,
        mountRoot,
        blockRoot,
        logger,
        workers: "in-process",
        ...more,
      });
    },
    connect: () => connect({ socketPath, timeoutMs: 5_000 }),
    [Symbol.asyncDispose]: () => rm(parent, { recursive: true, force: true }),
  };
}

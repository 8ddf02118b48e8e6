/**
 * A daemon in this very process, for the tests of programs that use the SDK: the same protocol, the
 * same daemon, over a simulated kernel. No root, no device-mapper, nothing of the machine is touched.
 *
 * What differs from a real one: a mount is an ordinary folder, which has the device's files while it is
 * mounted. They count against the pool's space, and a full device loses them, when they are written back:
 * when it is unmounted or a snapshot is made.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSimKernel } from "@thinpool/dm-sim";
import type { SimKernel } from "@thinpool/dm-sim";
import type { Daemon, Logger } from "@thinpool/mount-helper";
import { startDaemon } from "@thinpool/mount-helper";
import { createPool } from "@thinpool/thinpool";
import type { Client, LocalConnectOptions } from "../index.ts";
import { connect } from "../index.ts";

const DEFAULT_POOL_BYTES: bigint = 1n << 30n;
const POOL_METADATA_BYTES: bigint = 8n << 20n;
const DEFAULT_IMAGE_BYTES: bigint = 64n << 20n;

export interface TestingImage {
  readonly name: string;
  /** Default: 64 MiB. */
  readonly sizeBytes?: bigint;
  /** Default: ext4. */
  readonly filesystem?: "ext4" | "xfs" | "none";
}

export interface TestingDaemonOptions {
  /** Root's devices, which everybody may clone. Default: one, named "base". */
  readonly images?: readonly TestingImage[];
  /** Default: 1 GiB. */
  readonly poolBytes?: bigint;
  /** How long a session outlives its connection. Default: as a real daemon's, half a minute. */
  readonly sessionGraceMs?: number;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
}

export interface TestingDaemon extends AsyncDisposable {
  readonly socketPath: string;
  /** Where the mounts are, and the socket. */
  readonly folder: string;
  /** The simulated kernel: makes calls fail, cuts the power, says what is left. */
  readonly kernel: SimKernel;
  /** A client of it. The caller is whoever runs this process. */
  connect(options?: Omit<LocalConnectOptions, "socketPath">): Promise<Client>;
  /** As an upgrade does: the daemon stops and another one takes over; clients reconnect by themselves. */
  restart(): Promise<void>;
}

/**
 * Starts one in a folder of its own below the system's folder for temporary files; disposing of it
 * ends it and removes the folder.
 *
 * @example
 * ```ts
 * import { startTestingDaemon } from "@thinpool/sdk/testing";
 *
 * await using daemon = await startTestingDaemon();
 * await using client = await daemon.connect();
 * await using clone = await client.clone({ origin: "base", name: "one" });
 * console.log(clone.device.sizeBytes);
 * // prints: 67108864n
 * ```
 */
export async function startTestingDaemon(
  options: TestingDaemonOptions = {},
): Promise<TestingDaemon> {
  const parent = await mkdtemp(join(tmpdir(), "thinpool-testing-"));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(parent, { recursive: true, force: true }));
  const kernel = createSimKernel({ files: true });
  const folder = join(parent, "pool");
  const dataBytes = options.poolBytes ?? DEFAULT_POOL_BYTES;
  const backing = { type: "files", dataBytes, metadataBytes: POOL_METADATA_BYTES } as const;
  const pool = await createPool({ folder, kernel, backing });
  for (const { name, sizeBytes = DEFAULT_IMAGE_BYTES, filesystem } of options.images ?? [BASE]) {
    await pool.createDevice({
      name,
      sizeBytes,
      ...(filesystem === undefined ? {} : { filesystem }),
    });
  }
  await pool.detach();
  const socketPath = join(parent, "thinpool.sock");
  const start = (): Promise<Daemon> =>
    startDaemon({
      folder,
      kernel,
      socketPath,
      mountRoot: join(parent, "mounts"),
      blockRoot: join(parent, "blocks"),
      workers: "in-process",
      logger: options.logger ?? { log: () => undefined },
      ...(options.sessionGraceMs === undefined ? {} : { sessionGraceMs: options.sessionGraceMs }),
    });
  let daemon = await start();
  const parts = undo.move();
  return {
    socketPath,
    folder: parent,
    kernel,
    connect: (more = {}) => connect({ ...more, socketPath }),
    restart: async () => {
      await daemon.stop();
      daemon = await start();
    },
    [Symbol.asyncDispose]: async () => {
      await daemon.stop({ teardown: true });
      await parts.disposeAsync();
    },
  };
}

const BASE: TestingImage = { name: "base" };

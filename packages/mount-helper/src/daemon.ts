/** thinpoold as a function: the pool, the records of its mounts, and the socket, put together. */
import { join } from "node:path";
import type { Kernel, ThinPool } from "@thinpool/thinpool";
import { PoolError, openPool } from "@thinpool/thinpool";
import { Dispatcher } from "./dispatch.ts";
import { makeHandlers } from "./handlers/index.ts";
import type { Logger } from "./log.ts";
import { stderrLogger } from "./log.ts";
import { MountFolders } from "./mounts/folders.ts";
import { Mounter } from "./mounts/mounter.ts";
import { MountService } from "./references/mount-service.ts";
import { ReferenceStore } from "./references/store.ts";
import type { OpenFront } from "./server/back.ts";
import { Back } from "./server/back.ts";
import { directChannel } from "./server/direct-channel.ts";
import type { Identify } from "./server/listener.ts";
import { Listener, identifyByKernel } from "./server/listener.ts";

export const DEFAULT_MOUNT_ROOT = "/run/thinpool/mounts";
const STORE_FILE = "references.sqlite";
/** How long a stop waits for running operations; after it they go on without anybody to answer to. */
export const DRAIN_TIMEOUT_MS = 30_000;

export interface DaemonOptions {
  /** The pool's folder; the pool must exist. */
  readonly folder: string;
  readonly socketPath: string;
  readonly kernel: Kernel;
  /** Who may connect besides root; default: the group "thinpool", if the machine has it. */
  readonly socketGroup?: string;
  /** Default: /run/thinpool/mounts. */
  readonly mountRoot?: string;
  /** Default: one line of JSON per event on stderr. */
  readonly logger?: Logger;
}

export interface Daemon extends AsyncDisposable {
  readonly socketPath: string;
  /**
   * Stops accepting, ends what runs, and lets the pool go. Mounts stay for the next start, unless
   * `teardown`: then all references are given up and the pool is taken down (BUSY, and nothing more
   * is taken down, where a process works in a mount).
   */
  stop(options?: { readonly teardown?: boolean }): Promise<void>;
}

/** Rejects with PoolError (the pool can't be opened) or StartError (the socket). */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  return startDaemonWith(options, identifyByKernel);
}

/** As `startDaemon`; only tests identify a peer by anything but the kernel. */
export async function startDaemonWith(options: DaemonOptions, identify: Identify): Promise<Daemon> {
  const { folder, kernel, socketPath, socketGroup } = options;
  const logger = options.logger ?? stderrLogger();
  await using undo = new AsyncDisposableStack();
  const pool = await openPool({ folder, kernel });
  undo.defer(() => letGo(pool));
  const store = undo.use(new ReferenceStore(join(folder, STORE_FILE)));
  const folders = new MountFolders(options.mountRoot ?? DEFAULT_MOUNT_ROOT);
  await folders.prepareRoot();
  const mounter = new Mounter(kernel, folders);
  const mounts = new MountService({ pool, store, mounter, folders, logger });
  await mounts.recover();
  const dispatcher = new Dispatcher({
    handlers: makeHandlers({ pool, mounts }),
    facts: {
      deviceOwner: (name) => (pool.has({ name }) ? pool.get({ name }).ownerUid : undefined),
      referenceHolder: (id) => mounts.holderOf(id),
    },
    deviceOfReference: (id) => mounts.deviceOf(id),
    logger,
  });
  const openFront: OpenFront = (_principal, port) => directChannel(port);
  const back = new Back({ dispatcher, openFront, logger });
  const listener = await Listener.listen({ socketPath, socketGroup, back, logger, identify });
  undo.move();
  logger.log("info", "started", { pid: process.pid, pool: pool.uuid, socketPath });
  return new RunningDaemon({ socketPath, pool, store, mounts, dispatcher, back, listener, logger });
}

/** A start that failed: as it was, the pool down, unless an earlier daemon's mounts need it. */
async function letGo(pool: ThinPool): Promise<void> {
  try {
    await pool.close();
  } catch (error) {
    if (!(error instanceof PoolError) || error.code !== "DEVICE_BUSY") throw error;
    await pool.detach();
  }
}

interface Parts {
  readonly socketPath: string;
  readonly pool: ThinPool;
  readonly store: ReferenceStore;
  readonly mounts: MountService;
  readonly dispatcher: Dispatcher;
  readonly back: Back;
  readonly listener: Listener;
  readonly logger: Logger;
}

class RunningDaemon implements Daemon {
  readonly socketPath: string;
  readonly #parts: Parts;
  #stopped: Promise<void> | undefined;

  constructor(parts: Parts) {
    this.socketPath = parts.socketPath;
    this.#parts = parts;
  }

  stop(options: { readonly teardown?: boolean } = {}): Promise<void> {
    this.#stopped ??= this.#stop(options.teardown ?? false);
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stop(teardown: boolean): Promise<void> {
    const { pool, store, mounts, dispatcher, back, listener, logger } = this.#parts;
    listener.stopAccepting();
    if (!(await endsWithin(dispatcher.drain(), DRAIN_TIMEOUT_MS))) {
      logger.log("warn", "drain-timed-out", { ms: DRAIN_TIMEOUT_MS });
    }
    await back.close();
    listener.release();
    try {
      if (teardown) {
        await mounts.releaseAll();
        await pool.close();
      } else {
        await pool.detach();
      }
    } catch (error) {
      if (teardown) await pool.detach();
      throw error;
    } finally {
      store.close();
      logger.log("info", "stopped", { pid: process.pid, teardown });
    }
  }
}

async function endsWithin(work: Promise<void>, timeoutMs: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), timeoutMs);
  try {
    return await Promise.race([work.then(() => true), promise]);
  } finally {
    clearTimeout(timer);
  }
}

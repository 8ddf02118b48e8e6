/** The parts that count references, put together: over one pool, with one store. */
import { join } from "node:path";
import type { Kernel, ThinPool } from "@thinpool/thinpool";
import { DAEMON_FILES, bootId, bootTimeMs } from "@thinpool/thinpool";
import type { KeyedQueue } from "../keyed-queue.ts";
import type { Logger } from "../log.ts";
import { BlockNodes } from "../mounts/block-nodes.ts";
import { MountFolders } from "../mounts/folders.ts";
import { Mounter } from "../mounts/mounter.ts";
import type { RulesFor } from "../mounts/rules.ts";
import type { Clock } from "./deadline.ts";
import { Ephemerals } from "./ephemerals.ts";
import { MountService } from "./mount-service.ts";
import { Reaper } from "./reaper.ts";
import { Records } from "./records.ts";
import { Sessions } from "./sessions.ts";
import { MountSteps } from "./steps.ts";
import { ReferenceStore } from "./store.ts";

export const systemClock: Clock = {
  read: () => ({ wallMs: Date.now(), bootMs: bootTimeMs(), bootId: bootId() }),
};

export interface ReferencesOptions {
  readonly pool: ThinPool;
  readonly kernel: Kernel;
  readonly mountRoot: string;
  readonly blockRoot: string;
  readonly queue: KeyedQueue;
  readonly rulesFor: RulesFor;
  readonly logger: Logger;
  /** An ephemeral device was removed, by itself or before this start. */
  readonly onGone: (deviceUuid: string) => void;
  readonly clock?: Clock;
  readonly graceMs?: number | undefined;
  /** Only for tests that let the process die between two writes. */
  readonly onStore?: (store: ReferenceStore) => void;
}

export interface References {
  readonly mounts: MountService;
  readonly sessions: Sessions;
  readonly ephemerals: Ephemerals;
  readonly reaper: Reaper;
  /** Only for tests that look at what is on disk. */
  readonly store: ReferenceStore;
  /** Ends what is being done by itself; then nothing more is written. */
  close(): Promise<void>;
}

/** Opens the store and brings records and kernel in line; the reaper is not started yet. */
export async function openReferences(options: ReferencesOptions): Promise<References> {
  const {
    pool,
    kernel,
    mountRoot,
    blockRoot,
    queue,
    rulesFor,
    logger,
    onGone,
    clock = systemClock,
  } = options;
  const folders = new MountFolders(mountRoot);
  await folders.prepareRoot();
  const nodes = new BlockNodes(blockRoot, pool.uuid, kernel);
  const mounter = new Mounter(kernel, folders, nodes);
  const store = new ReferenceStore(join(pool.folder, DAEMON_FILES.references));
  options.onStore?.(store);
  try {
    const records = new Records(store);
    const sessions = new Sessions({ store, clock, graceMs: options.graceMs });
    const ephemerals = new Ephemerals({
      pool,
      store,
      logger,
      isMounted: (deviceUuid) => records.ofDevice(deviceUuid).length > 0,
      onGone,
    });
    const { bootId: boot } = clock.read();
    const steps = new MountSteps({ pool, records, mounter, rulesFor, logger, bootId: boot });
    const mounts = new MountService({
      poolUuid: pool.uuid,
      records,
      steps,
      sessions,
      ephemerals,
      mounter,
      folders,
      nodes,
      rulesFor,
      clock,
      logger,
      onChange: () => reaper.schedule(),
    });
    const reaper = new Reaper({
      service: mounts,
      sessions,
      inTurn: (device, task) => queue.run(device, "end of references", task),
      logger,
    });
    await mounts.recover();
    const close = async (): Promise<void> => {
      await reaper.stop();
      store.close();
    };
    return { mounts, sessions, ephemerals, reaper, store, close };
  } catch (error) {
    store.close();
    throw error;
  }
}

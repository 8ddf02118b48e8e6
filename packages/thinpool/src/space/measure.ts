/** How full a pool and its host are, read at one moment. Never makes the pool commit. */
import { stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import {
  METADATA_BLOCK_SIZE_BYTES,
  SECTOR_SIZE_BYTES,
  type ThinPoolDiscard,
  type ThinPoolStatus,
} from "@thinpool/dm-native";
import type { PoolState } from "../device.ts";
import type { Kernel } from "../kernel.ts";
import type { PoolDevice } from "../pool-device.ts";
import type { PoolRecord } from "../store/ledger.ts";
import { poolStateOf } from "../tables.ts";

/** st_blocks counts in these, whatever the filesystem (stat(2)). */
const STAT_BLOCK_BYTES = 512n;

export interface SpaceUse {
  readonly usedBytes: bigint;
  readonly totalBytes: bigint;
}

/** The filesystem under a pool of sparse files. */
export interface HostSpace {
  /** For programs without root's rights: what root alone may use is not counted on. */
  readonly freeBytes: bigint;
  /** What the pool's files may still take of it without growing. */
  readonly unallocatedBytes: bigint;
}

export interface Measure {
  /** performance.now(). */
  readonly atMs: number;
  readonly state: PoolState;
  /** Undefined where the kernel's pool has failed and says nothing more. */
  readonly use:
    | {
        readonly data: SpaceUse;
        readonly metadata: SpaceUse;
        /** The kernel's own low-water mark of the metadata. */
        readonly metadataLowWaterBytes: bigint;
        readonly discard: ThinPoolDiscard;
        readonly onNoSpace: "queue_if_no_space" | "error_if_no_space";
      }
    | undefined;
  /** Of a pool on files. */
  readonly host: HostSpace | undefined;
}

export async function measure(
  kernel: Kernel,
  pool: PoolDevice,
  record: PoolRecord,
): Promise<Measure> {
  const status = await pool.status();
  return {
    atMs: performance.now(),
    state: poolStateOf(status),
    use: useOf(status, record.blockSectors * SECTOR_SIZE_BYTES),
    host: record.backing === "files" ? await hostSpace(record) : undefined,
  };
}

function useOf(status: ThinPoolStatus, blockBytes: bigint): Measure["use"] {
  if (status.state !== "working") return undefined;
  const quarter = status.totalMetadata / 4n;
  return {
    data: {
      usedBytes: status.usedData * blockBytes,
      totalBytes: status.totalData * blockBytes,
    },
    metadata: {
      usedBytes: status.usedMetadata * METADATA_BLOCK_SIZE_BYTES,
      totalBytes: status.totalMetadata * METADATA_BLOCK_SIZE_BYTES,
    },
    metadataLowWaterBytes: (status.metadataLowWater ?? quarter) * METADATA_BLOCK_SIZE_BYTES,
    discard: status.discard,
    onNoSpace: status.onNoSpace === "error" ? "error_if_no_space" : "queue_if_no_space",
  };
}

async function hostSpace(record: PoolRecord): Promise<HostSpace> {
  const { dataPath, metadataPath } = record;
  const [filesystem, ...files] = await Promise.all([
    statfs(dirname(dataPath), { bigint: true }),
    ...[dataPath, metadataPath].map((path) => stat(path, { bigint: true })),
  ]);
  let unallocatedBytes = 0n;
  for (const { size, blocks } of files) {
    const allocated = blocks * STAT_BLOCK_BYTES;
    if (size > allocated) unallocatedBytes += size - allocated;
  }
  return { freeBytes: filesystem.bavail * filesystem.bsize, unallocatedBytes };
}

/** The pools of this host: those that are up, whose dm devices say so, and the one of a folder. */
import { basename, dirname } from "node:path";
import {
  type DevNumber,
  type DmListEntry,
  NativeError,
  SECTOR_SIZE_BYTES,
  sameDevNumber,
  thinPoolFromParams,
  thinPoolFromStatus,
} from "@thinpool/dm-native";
import type { Kernel } from "@thinpool/thinpool";
import { formatShare, formatSize } from "../size.ts";
import { renderTable } from "../table.ts";

const POOL_UUID =
  /^THINPOOL-([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})-pool$/;

export interface KnownPool {
  /** Undefined where the folder is in use and the kernel has no pool of it. */
  readonly uuid: string | undefined;
  /** Undefined for a pool that is up on block devices: only its folder says where its records are. */
  readonly folder: string | undefined;
  readonly state:
    /** The kernel has it. */
    | "up"
    | "down"
    /** Its creation or destruction never ended. */
    | "unfinished"
    /** The kernel has it, and says that it failed. */
    | "failed";
  /** Whether a process, the daemon mostly, has it open; undefined where the folder is not known. */
  readonly open: boolean | undefined;
  /** Undefined where only the kernel would know, and it has no such pool. */
  readonly dataUsedBytes: bigint | undefined;
  readonly dataTotalBytes: bigint | undefined;
}

/** NATIVE_PERMISSION for anybody but root. */
export async function knownPools(kernel: Kernel, folder: string): Promise<readonly KnownPool[]> {
  const up: KnownPool[] = [];
  for (const entry of await kernel.dm.listDevices()) {
    const pool = await poolThatIsUp(kernel, entry).catch(goneMeanwhile);
    if (pool === undefined) continue;
    const open = pool.folder === undefined ? undefined : (await lookAt(kernel, pool.folder)).open;
    up.push({ ...pool, open });
  }
  const { open, records } = await lookAt(kernel, folder);
  const same = up.find(
    (pool) => pool.folder === folder || (records !== undefined && pool.uuid === records.uuid),
  );
  if (same !== undefined) {
    return up.map((pool) => (pool === same ? { ...pool, folder, open } : pool));
  }
  if (!open && records === undefined) return up;
  const state = records?.whole === false ? "unfinished" : "down";
  return [
    ...up,
    {
      uuid: records?.uuid,
      folder: records?.folder ?? folder,
      state: open ? "up" : state,
      open,
      dataUsedBytes: undefined,
      dataTotalBytes: records?.dataBytes,
    },
  ];
}

/** A device that was removed since it was listed is no pool that is up. */
function goneMeanwhile(error: unknown): undefined {
  if (error instanceof NativeError && error.code === "NATIVE_NOT_FOUND") return undefined;
  throw error;
}

type Up = Omit<KnownPool, "open">;

async function poolThatIsUp(kernel: Kernel, entry: DmListEntry): Promise<Up | undefined> {
  const ref = { dev: entry.dev };
  // Kernels before 5.14 list no uuids: each device is asked.
  const dmUuid = entry.uuid ?? (await kernel.dm.deviceStatus(ref)).uuid;
  const parts = POOL_UUID.exec(dmUuid ?? "");
  if (parts === null) return undefined;
  const [table, status] = await Promise.all([
    kernel.dm.table(ref),
    kernel.dm.tableStatus(ref, { noFlush: true }),
  ]);
  const [line, state] = [table.targets[0], status.targets[0]];
  if (line?.type !== "thin-pool" || state === undefined) return undefined;
  const { data, blockSectors } = thinPoolFromParams(line.params);
  const now = thinPoolFromStatus(state.params);
  const blockBytes = blockSectors * SECTOR_SIZE_BYTES;
  return {
    uuid: parts.slice(1).join("-"),
    folder: await folderOf(kernel, data),
    state: now.state === "working" ? "up" : "failed",
    dataUsedBytes: now.state === "working" ? now.usedData * blockBytes : undefined,
    dataTotalBytes: line.lengthSectors * SECTOR_SIZE_BYTES,
  };
}

/** A pool on files has its data in its own folder. */
async function folderOf(kernel: Kernel, data: DevNumber): Promise<string | undefined> {
  const loop = (await kernel.loops.list()).find(({ dev }) => sameDevNumber(dev, data));
  if (loop === undefined || basename(loop.backingFile) !== "data") return undefined;
  return dirname(loop.backingFile);
}

async function lookAt(kernel: Kernel, folder: string) {
  const { PoolError, readClosedPool } = await import("@thinpool/thinpool");
  try {
    const eventsAfter = Number.MAX_SAFE_INTEGER;
    return { open: false, records: await readClosedPool({ folder, kernel, eventsAfter }) };
  } catch (error) {
    const code = error instanceof PoolError ? error.code : "";
    if (code === "POOL_LOCKED") return { open: true, records: undefined };
    if (code === "POOL_NOT_FOUND") return { open: false, records: undefined };
    throw error;
  }
}

export function renderKnownPools(
  pools: readonly KnownPool[],
  { bytes }: { readonly bytes: boolean },
): string {
  const size = (value: bigint | undefined): string =>
    value === undefined ? "?" : bytes ? String(value) : formatSize(value);
  return renderTable<KnownPool>(
    [
      { heading: "UUID", value: ({ uuid }) => uuid ?? "?" },
      { heading: "STATE", value: ({ state }) => state },
      { heading: "OPEN", value: ({ open }) => (open === undefined ? "?" : open ? "yes" : "no") },
      { heading: "DATA", align: "right", value: ({ dataTotalBytes }) => size(dataTotalBytes) },
      {
        heading: "USED",
        align: "right",
        value: ({ dataUsedBytes, dataTotalBytes }) =>
          dataUsedBytes === undefined || dataTotalBytes === undefined
            ? "?"
            : formatShare(dataUsedBytes, dataTotalBytes),
      },
      { heading: "FOLDER", value: ({ folder }) => folder ?? "?" },
    ],
    pools,
  );
}

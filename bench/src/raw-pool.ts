/**
 * A thin pool without an engine, on the same kind of backing as the engine's: loop devices with direct
 * I/O on sparse files. The C program, dmsetup and containerd work on such pools of their own.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import {
  dataBlocks,
  dmName,
  dmUuid,
  formatDevNumber,
  sectors,
  SECTOR_SIZE_BYTES,
  thinPoolToParams,
} from "@thinpool/dm-native";
import type { Kernel } from "@thinpool/thinpool";
import { BLOCK_SECTORS, DATA_BYTES, DEVICE_BYTES, METADATA_BYTES } from "./sizes.ts";

/** As the engine's. */
const LOW_WATER_BLOCKS = 8192n;

export interface RawPool extends AsyncDisposable {
  readonly name: string;
  readonly uuid: string;
  /** MAJOR:MINOR */
  readonly dev: string;
  transactionId: bigint;
  nextId: number;
}

async function attach(kernel: Kernel, path: string, bytes: bigint) {
  writeFileSync(path, "");
  truncateSync(path, Number(bytes));
  return kernel.loops.attach({ backingFile: path, directIo: true });
}

/** A pool of that name with its files in `folder`. */
export async function makeRawPool(kernel: Kernel, folder: string, name: string): Promise<RawPool> {
  mkdirSync(folder, { recursive: true });
  const data = await attach(kernel, `${folder}/data`, DATA_BYTES);
  const metadata = await attach(kernel, `${folder}/metadata`, METADATA_BYTES);
  const uuid = dmUuid(`BENCH-${name}`);
  await kernel.dm.createDevice(dmName(name), { uuid });
  const params = thinPoolToParams({
    metadata: metadata.dev,
    data: data.dev,
    blockSectors: sectors(BLOCK_SECTORS),
    lowWater: dataBlocks(LOW_WATER_BLOCKS),
  });
  const lengthSectors = sectors(DATA_BYTES / SECTOR_SIZE_BYTES);
  await kernel.dm.loadTable({ uuid }, [
    { startSectors: sectors(0), lengthSectors, type: "thin-pool", params },
  ]);
  const { dev } = await kernel.dm.resume({ uuid });
  return {
    name,
    uuid,
    dev: formatDevNumber(dev),
    transactionId: 0n,
    nextId: 1,
    async [Symbol.asyncDispose]() {
      await kernel.dm.removeDevice({ uuid });
      await kernel.loops.detach(data.path);
      await kernel.loops.detach(metadata.path);
    },
  };
}

/** Thin id 0 with an ext4 on it, inactive, as the engine's base is. */
export async function makeRawBase(kernel: Kernel, pool: RawPool): Promise<void> {
  await kernel.dm.message({ uuid: dmUuid(pool.uuid) }, "create_thin 0");
  const name = dmName(`${pool.name}-base`);
  const uuid = dmUuid(`BENCH-${pool.name}-base`);
  await kernel.dm.createDevice(name, { uuid });
  const lengthSectors = sectors(DEVICE_BYTES / SECTOR_SIZE_BYTES);
  await kernel.dm.loadTable({ uuid }, [
    { startSectors: sectors(0), lengthSectors, type: "thin", params: `${pool.dev} 0` },
  ]);
  await kernel.dm.resume({ uuid });
  execFileSync("mkfs.ext4", ["-q", "-F", "-E", "nodiscard", `/dev/mapper/${name}`]);
  await kernel.dm.removeDevice({ uuid });
}

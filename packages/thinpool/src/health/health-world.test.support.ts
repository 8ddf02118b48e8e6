/** Pools on a simulated kernel for the tests of health, and what they have in common. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DmName } from "@thinpool/dm-native";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { createPool } from "../create-pool.ts";
import { PoolError, type PoolErrorCode } from "../errors.ts";
import type { ThinPool } from "../pool.ts";

export const BLOCK_BYTES: number = 64 << 10;
export const DEVICE_BYTES: bigint = 16n << 20n;
const folders: string[] = [];

export interface World {
  readonly folder: string;
  readonly kernel: SimKernel;
  readonly pool: ThinPool;
}

/** A pool of blocks of 64 KiB with an empty device "base" without a filesystem. */
export async function freshWorld(): Promise<World> {
  const parent = await mkdtemp(join(tmpdir(), "thinpool-health-"));
  folders.push(parent);
  const folder = join(parent, "pool");
  const kernel = createSimKernel();
  const pool = await createPool({
    folder,
    kernel,
    blockSectors: 128n,
    backing: { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n },
  });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  return { folder, kernel, pool };
}

/** A pool on /dev/sdb and /dev/sdc; /dev/spare could take the metadata, /dev/small and /dev/other not. */
export async function blockWorld(): Promise<World> {
  const parent = await mkdtemp(join(tmpdir(), "thinpool-health-"));
  folders.push(parent);
  const folder = join(parent, "pool");
  const kernel = createSimKernel();
  kernel.addBlockDevice({ path: "/dev/sdb", sizeBytes: 64n << 20n });
  kernel.addBlockDevice({ path: "/dev/sdc", sizeBytes: 4n << 20n });
  kernel.addBlockDevice({ path: "/dev/spare", sizeBytes: 4n << 20n });
  kernel.addBlockDevice({ path: "/dev/small", sizeBytes: 2n << 20n });
  kernel.addBlockDevice({ path: "/dev/other", sizeBytes: 4n << 20n, signature: "ext4" });
  const backing = { type: "block", dataPath: "/dev/sdb", metadataPath: "/dev/sdc" } as const;
  const pool = await createPool({ folder, kernel, blockSectors: 128n, backing });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  return { folder, kernel, pool };
}

export async function removeFolders(): Promise<void> {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}

/** Writes whole blocks of an active device, each filled with `fill`. */
export async function writeBlocks(
  kernel: SimKernel,
  path: string,
  blocks: readonly number[],
  fill: string,
): Promise<void> {
  for (const block of blocks) {
    await kernel.write(path, block * BLOCK_BYTES, Buffer.alloc(BLOCK_BYTES, fill));
  }
  await kernel.flush(path);
}

/** The owner dies, and the machine with it: what was live is gone, and the stop was not clean. */
export async function powerCut(world: World): Promise<SimKernel> {
  await world.pool.detach();
  return world.kernel.powerCut();
}

export function withCode(code: PoolErrorCode, reason: RegExp = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PoolError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.reason, reason);
    assert.ok(error.hint.length > 0);
    return true;
  };
}

/** The dm device of the pool itself. */
export async function poolRef(kernel: SimKernel): Promise<{ readonly name: DmName }> {
  const entry = (await kernel.dm.listDevices()).find(({ name }) => name.endsWith("-pool"));
  assert.ok(entry !== undefined);
  return { name: entry.name };
}

export async function poolPath(kernel: SimKernel): Promise<string> {
  return `/dev/mapper/${(await poolRef(kernel)).name}`;
}

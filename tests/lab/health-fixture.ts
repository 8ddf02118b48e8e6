/** Pools for the kernel tests of health: small blocks, raw devices, and what a crash leaves. */
import assert from "node:assert/strict";
import { open, rm, truncate, writeFile } from "node:fs/promises";
import {
  createPool,
  dmName,
  type Kernel,
  linuxKernel,
  type LinuxKernel,
  type PoolBacking,
  PoolError,
  type PoolErrorCode,
  type ThinPool,
} from "@thinpool/thinpool";
import { run, SUFFIX } from "./native-fixture.ts";

export const BLOCK_BYTES: number = 64 << 10;
export const BLOCK: bigint = BigInt(BLOCK_BYTES);
export const DEVICE_BYTES: bigint = 16n << 20n;
export const BACKING: Extract<PoolBacking, { type: "files" }> = {
  type: "files",
  dataBytes: 128n << 20n,
  metadataBytes: 4n << 20n,
};

export const kernel: LinuxKernel = linuxKernel();

/** A pool with an active device "base" without a filesystem. */
export async function rawPool(folder: string, on: Kernel = kernel): Promise<ThinPool> {
  const pool = await createPool({ folder, kernel: on, blockSectors: 128n, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  await pool.activate({ name: "base" });
  return pool;
}

/** Each block filled with that character; synced. */
export async function writeBlocks(
  path: string,
  blocks: readonly number[],
  fill: string,
): Promise<void> {
  const file = await open(path, "r+");
  try {
    for (const block of blocks) {
      await file.write(Buffer.alloc(BLOCK_BYTES, fill), 0, BLOCK_BYTES, block * BLOCK_BYTES);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The first character of each block. */
export async function readBlocks(path: string, blocks: readonly number[]): Promise<string> {
  const file = await open(path, "r");
  try {
    let out = "";
    for (const block of blocks) {
      const bytes = Buffer.alloc(1);
      await file.read(bytes, 0, 1, block * BLOCK_BYTES);
      out += bytes[0] === 0 ? "-" : bytes.toString();
    }
    return out;
  } finally {
    await file.close();
  }
}

/** dm devices of the pool, the pool's own last, so that they can be removed in this order. */
async function devicesOf(uuid: string): Promise<readonly string[]> {
  const prefix = `thinpool-${uuid.slice(0, 8)}-`;
  const names = (await kernel.dm.listDevices()).map(({ name }) => String(name));
  const ours = names.filter((name) => name.startsWith(prefix));
  return ours.toSorted((a, b) => Number(a.endsWith("-pool")) - Number(b.endsWith("-pool")));
}

async function loopsIn(parent: string): Promise<readonly string[]> {
  const loops = await kernel.loops.list();
  return loops.filter(({ backingFile }) => backingFile.startsWith(parent)).map(({ path }) => path);
}

/**
 * What a reboot leaves of a pool that was not closed: its files, without anything in the kernel. (The
 * metadata is as the kernel committed it; cuts of the power are tested elsewhere.)
 */
export async function stopUnclean(pool: ThinPool): Promise<void> {
  await pool.detach();
  for (const name of await devicesOf(pool.uuid)) {
    await kernel.dm.removeDevice({ name: dmName(name) });
  }
  for (const path of await loopsIn(pool.folder)) await kernel.loops.detach(path);
}

/** Asserts that nothing of the pools below `parent` is left in the kernel, then removes the folder. */
export async function nothingLeft(parent: string, uuids: readonly string[]): Promise<void> {
  const devices: string[] = [];
  for (const uuid of uuids) devices.push(...(await devicesOf(uuid)));
  const loops = await loopsIn(parent);
  await rm(parent, { recursive: true, force: true });
  assert.deepEqual({ devices, loops }, { devices: [], loops: [] });
}

/** Overwrites blocks of 4 KiB of a file that no loop has open. */
export async function overwrite(path: string, firstBlock: number, count: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    const bytes = Buffer.alloc(4096 * count, "damage");
    await file.write(bytes, 0, bytes.length, firstBlock * 4096);
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function fileOf(path: string, sizeBytes: bigint): Promise<string> {
  await writeFile(path, "");
  await truncate(path, Number(sizeBytes));
  return path;
}

export function refusal(code: PoolErrorCode, reason: RegExp = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PoolError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.reason, reason);
    assert.ok(!error.message.includes("\n"), error.message);
    return true;
  };
}

export function poolName(pool: ThinPool): string {
  return `thinpool-${pool.uuid.slice(0, 8)}-pool`;
}

export async function message(pool: ThinPool, text: string): Promise<void> {
  await kernel.dm.message({ name: dmName(poolName(pool)) }, text);
}

/** A dm device of the test's own over a loop, whose table can be swapped under the pool. */
export async function reload(name: string, table: string): Promise<void> {
  await run("/usr/sbin/dmsetup", "load", name, "--table", table);
  await run("/usr/sbin/dmsetup", "suspend", "--noflush", "--nolockfs", name);
  await run("/usr/sbin/dmsetup", "resume", name);
}

export function testName(part: string): string {
  return `health-${SUFFIX}-${part}`;
}

/** What a pool stands on: two sparse files through loop devices, or two block devices. */
import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type DevNumber, type LoopStatus, sameDevNumber } from "@thinpool/dm-native";
import { PoolError } from "./errors.ts";
import { isErrno, isNative } from "./errors-from-native.ts";
import type { Kernel } from "./kernel.ts";
import type { PoolRecord } from "./store/ledger.ts";
import type { Undo } from "./undo.ts";

/** How often, and how far apart, a loop is looked at that is to go: a udev rule has it open for less. */
const GOING_LOOKS = 20;
const GOING_PAUSE_MS = 25;

export interface BackingDevice {
  /** The device's node: /dev/loopN, or what was given. */
  readonly path: string;
  readonly dev: DevNumber;
  /** True where we attached a loop to our own file, so that closing detaches it. */
  readonly isLoop: boolean;
}

export interface Backing {
  readonly data: BackingDevice;
  readonly metadata: BackingDevice;
}

type BackingRecord = Pick<
  PoolRecord,
  "backing" | "dataPath" | "metadataPath" | "dataBytes" | "metadataBytes"
>;

/**
 * Finds or attaches what the record names. Loops that a killed process left on the same inodes are
 * taken over; those attached here are detached again by `undo`.
 */
export async function attachBacking(
  kernel: Kernel,
  record: BackingRecord,
  undo: Undo,
): Promise<Backing> {
  const attach = record.backing === "files" ? attachFile : findBlockDevice;
  const metadata = await attach(kernel, record.metadataPath, record.metadataBytes, undo);
  const data = await attach(kernel, record.dataPath, record.dataBytes, undo);
  return { data, metadata };
}

/** Detaches the loops; block devices need nothing. Safe to call again after a failure. */
export async function releaseBacking(kernel: Kernel, backing: Backing): Promise<void> {
  for (const device of [backing.data, backing.metadata]) {
    if (device.isLoop) await detachLoop(kernel, device.path);
  }
}

async function detachLoop(kernel: Kernel, path: string): Promise<void> {
  try {
    // "deferred": someone (a udev rule) has it open; the kernel detaches it at that one's close.
    await kernel.loops.detach(path);
  } catch (error) {
    // Detached already: by an earlier attempt to close, or by hand.
    if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
  }
}

async function attachFile(
  kernel: Kernel,
  path: string,
  sizeBytes: bigint,
  undo: Undo,
): Promise<BackingDevice> {
  await checkFile(path, sizeBytes);
  const found = await loopsThatStay(kernel, path);
  if (found.length > 1) {
    throw mismatch(
      path,
      `${found.map((loop) => loop.path).join(" and ")} are all attached to it`,
      "Detach those that the pool does not use (losetup -d), then open it again.",
    );
  }
  const left = found[0];
  if (left !== undefined) return adoptLoop(left, path);
  const loop = await kernel.loops.attach({ backingFile: path, directIo: true });
  undo.push(`detaching ${loop.path}`, () => detachLoop(kernel, loop.path));
  return { path: loop.path, dev: loop.dev, isLoop: true };
}

/**
 * Of the loops on the file. One that goes at its last close is waited for: a close or a check left it since
 * somebody had it open. Taken over, it could go before the pool has it open, and its number be another file's.
 * One that is still there then is in use: a live pool's.
 */
async function loopsThatStay(kernel: Kernel, path: string): Promise<readonly LoopStatus[]> {
  for (let look = 1; ; look += 1) {
    const found = await kernel.loops.findByBackingFile(path);
    if (look === GOING_LOOKS || !found.some(({ autoclear }) => autoclear)) return found;
    await sleep(GOING_PAUSE_MS);
  }
}

function adoptLoop(loop: LoopStatus, path: string): BackingDevice {
  if (loop.readOnly || loop.offsetBytes !== 0n || loop.sizeLimitBytes !== 0n) {
    throw mismatch(
      path,
      `${loop.path} is attached to it, but read-only or to a part of it`,
      `Detach it (losetup -d ${loop.path}), then open the pool again.`,
    );
  }
  return { path: loop.path, dev: loop.dev, isLoop: true };
}

async function checkFile(path: string, sizeBytes: bigint): Promise<void> {
  const found = await statOrMismatch(path);
  if (!found.isFile()) throw mismatch(path, "it is no regular file", "Put the pool's file back.");
  if (found.size !== sizeBytes) {
    throw mismatch(
      path,
      `it is ${found.size} bytes long, the ledger says ${sizeBytes}`,
      "Put the pool's own file back: another, or a cut one, would lose data.",
    );
  }
}

async function statOrMismatch(path: string) {
  try {
    return await stat(path, { bigint: true });
  } catch (error) {
    if (isErrno(error, "ENOENT")) {
      throw mismatch(path, "it is missing", "Put the pool's file or device back at this path.");
    }
    throw error;
  }
}

async function findBlockDevice(
  kernel: Kernel,
  path: string,
  sizeBytes: bigint,
): Promise<BackingDevice> {
  let size: bigint;
  try {
    size = await kernel.blocks.sizeBytes(path);
  } catch (error) {
    if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
    throw mismatch(path, "it is missing", "Put the pool's device back at this path.");
  }
  if (size < sizeBytes) {
    throw mismatch(
      path,
      `it has ${size} bytes, the ledger says ${sizeBytes}`,
      "Name the pool's own device: a smaller one would lose data.",
    );
  }
  return { path, dev: await kernel.blocks.number(path), isLoop: false };
}

/** For a new pool: refuses devices that carry something, are in use, or are one and the same. */
export async function checkEmptyBlockDevices(
  kernel: Kernel,
  dataPath: string,
  metadataPath: string,
): Promise<{ readonly dataBytes: bigint; readonly metadataBytes: bigint }> {
  const numbers: DevNumber[] = [];
  for (const path of [dataPath, metadataPath]) {
    numbers.push(await blockDeviceNumber(kernel, path));
    const signature = await kernel.blocks.signature(path);
    if (signature !== undefined) {
      throw notEmpty(
        path,
        `it carries ${signature.type} (at byte ${signature.offsetBytes})`,
        "Name another device; or, if what it holds may go, erase it with wipefs -a.",
      );
    }
    if (await kernel.blocks.inUse(path)) {
      throw notEmpty(path, "it is in use", "Unmount it, or name another device (see lsblk).");
    }
  }
  if (
    numbers[0] !== undefined &&
    numbers[1] !== undefined &&
    sameDevNumber(numbers[0], numbers[1])
  ) {
    throw notEmpty(dataPath, "it is given for data and metadata both", "Name two devices.");
  }
  return {
    dataBytes: await kernel.blocks.sizeBytes(dataPath),
    metadataBytes: await kernel.blocks.sizeBytes(metadataPath),
  };
}

async function blockDeviceNumber(kernel: Kernel, path: string): Promise<DevNumber> {
  try {
    return await kernel.blocks.number(path);
  } catch (error) {
    const missing = isNative(error, "NATIVE_NOT_FOUND");
    if (!missing && !isNative(error, "NATIVE_INVALID")) throw error;
    throw new PoolError({
      code: "POOL_OPTION_INVALID",
      operation: "check of a device",
      object: path,
      reason: missing ? "there is no such device" : "it is no block device",
      hint: "Name a block device by its absolute path (lsblk lists them).",
      cause: error,
    });
  }
}

function notEmpty(object: string, reason: string, hint: string): PoolError {
  return new PoolError({
    code: "POOL_DEVICE_NOT_EMPTY",
    operation: "check of a device",
    object,
    reason,
    hint,
  });
}

function mismatch(object: string, reason: string, hint: string): PoolError {
  const operation = "opening the pool's storage";
  return new PoolError({ code: "POOL_MISMATCH", operation, object, reason, hint });
}

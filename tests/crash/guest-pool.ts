/** In the lab's guest: what loads and checks do with devices and the files in them. */
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { NativeError } from "@thinpool/dm-native";
import { type Kernel, type ThinPool } from "@thinpool/thinpool";
import { fileBytes, type WorkerState, type WorkerStep } from "./worker-plan.ts";

export const DEVICE_BYTES: bigint = 16n << 20n;
const MOUNTS = "/run/soak";
/** Ten seconds. */
const MAX_UNMOUNT_TRIES = 500;
const UNMOUNT_INTERVAL_MS = 20;

/**
 * Some things have files open for a while longer: the kernel closes that of a detached loop device in its own
 * time, and a program that is being started has all of this process's until its exec (another worker's mkfs).
 */
export async function unmountRetrying(kernel: Kernel, target: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await kernel.mounts.unmount(target);
      return;
    } catch (error) {
      const isBusy = error instanceof NativeError && error.code === "NATIVE_BUSY";
      if (!isBusy || tries === MAX_UNMOUNT_TRIES) throw error;
      await sleep(UNMOUNT_INTERVAL_MS);
    }
  }
}

/** Runs `body` with the device active and mounted; both are taken back. */
export async function mounted<T>(
  kernel: Kernel,
  pool: ThinPool,
  name: string,
  body: (at: string) => Promise<T>,
): Promise<T> {
  const { device } = await pool.activate({ name });
  const target = join(MOUNTS, name);
  await mkdir(target, { recursive: true });
  await kernel.mounts.mount({ source: device.path, type: "ext4", target, flags: {} });
  try {
    return await body(target);
  } finally {
    await unmountRetrying(kernel, target);
    await rm(target, { recursive: true });
    await pool.deactivate({ name });
  }
}

/** Written, and synced with its name. */
async function writeDurably(folder: string, name: string, bytes: Buffer): Promise<void> {
  const file = await open(join(folder, name), "w");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** One step of a worker; `after` is its state once the step has happened. */
export async function runStep(
  kernel: Kernel,
  pool: ThinPool,
  step: WorkerStep,
  after: WorkerState,
): Promise<void> {
  const write = (at: string, device: string, file: string): Promise<void> => {
    const found = after[device]?.files[file];
    if (found === undefined) throw new Error(`the plan has no ${file} in ${device}`);
    return writeDurably(at, file, fileBytes(found));
  };
  switch (step.verb) {
    case "create":
      await pool.createDevice({ name: step.name, sizeBytes: DEVICE_BYTES });
      return;
    case "snapshot":
      await pool.snapshot({ origin: step.origin, name: step.name });
      return;
    case "remove":
      await pool.remove({ name: step.name });
      return;
    case "write":
      await mounted(kernel, pool, step.name, (at) => write(at, step.name, step.file));
      return;
    case "live-snapshot":
      await mounted(kernel, pool, step.origin, async (at) => {
        await write(at, step.origin, step.file);
        await pool.snapshot({ origin: step.origin, name: step.name });
      });
      return;
    default:
      throw new Error(`no such step: ${JSON.stringify(step)}`);
  }
}

/** What is wrong with the files of a mounted device; undefined: nothing. */
export async function wrongFile(
  at: string,
  files: WorkerState[string]["files"],
): Promise<string | undefined> {
  for (const [name, file] of Object.entries(files)) {
    let bytes: Buffer;
    try {
      bytes = await readFile(join(at, name));
    } catch (error) {
      return `${name}: ${String(error)}`;
    }
    if (!bytes.equals(fileBytes(file))) return `${name}: its content is another`;
  }
  return undefined;
}

import type { MountInfo } from "@thinpool/dm-native";
import { sameDevNumber } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import { emptyDevice } from "../space/empty-device.ts";
import type { DeviceRecord } from "../store/ledger.ts";

export interface TrimResult {
  readonly outcome: "trimmed";
  /** What the filesystem says it discarded: also what it had discarded before. */
  readonly trimmedBytes: bigint;
}

export interface DiscardResult {
  readonly outcome: "discarded";
}

/**
 * Not in the queue of changes: a trim may take minutes, and its mount keeps the device from being
 * removed. What was deleted a moment ago counts once the filesystem has committed it (ext4: 5 s, or
 * syncfs). DEVICE_INACTIVE where it is not mounted (for writing) in this mount namespace.
 */
export async function trim(
  engine: Engine,
  options: { readonly name: string },
): Promise<TrimResult> {
  const { name } = options;
  engine.assertNotClosed("trim", name);
  const record = engine.device("trim", name);
  try {
    const mount = await mountOf(engine, record);
    const trimmedBytes = await engine.kernel.mounts.trim(mount.mountPoint);
    return { outcome: "trimmed", trimmedBytes };
  } catch (error) {
    throw poolErrorFrom(error, {
      operation: "trim",
      object: name,
      codes: { NATIVE_REFUSED: "POOL_UNSUPPORTED" },
    });
  }
}

/** An active device stays active, an inactive one inactive. POOL_PERMISSION for a read-only one. */
export function discard(
  engine: Engine,
  options: { readonly name: string },
): Promise<DiscardResult> {
  return engine.changeDevice("discard", options.name, async (name) => {
    const record = engine.device("discard", name);
    refuseIgnored(engine, name);
    // Of an active one the kernel would refuse it as well.
    if (record.readOnly) throw readOnly(name);
    const { kernel, states, thins } = engine;
    const path = engine.path(record);
    const isActive = states.isActive(record.uuid);
    const live = isActive ? await thins.find(record.uuid) : undefined;
    if (live === undefined) {
      // It has gone at its last close, or somebody removed it: it is inactive, whatever we thought.
      if (isActive) states.set(record.uuid, "inactive");
      await emptyDevice(engine, record);
      return { outcome: "discarded" };
    }
    if (live.openCount > 0) {
      throw new PoolError({
        code: "DEVICE_BUSY",
        operation: "discard",
        object: name,
        reason: "it is open or mounted",
        hint: "Unmount it first; or trim it, which only discards what its filesystem does not use.",
      });
    }
    await kernel.blocks.discard(path, { offsetBytes: 0n, lengthBytes: record.sizeBytes });
    return { outcome: "discarded" };
  });
}

function readOnly(name: string): PoolError {
  return new PoolError({
    code: "POOL_PERMISSION",
    operation: "discard",
    object: name,
    reason: "it is read-only",
    hint: "Make it writable first, or remove it.",
  });
}

function refuseIgnored(engine: Engine, name: string): void {
  if (engine.poolRecord.discard !== "ignore") return;
  throw new PoolError({
    code: "POOL_UNSUPPORTED",
    operation: "discard",
    object: name,
    reason: "the pool was made to ignore discards",
    hint: "Remove the device and make it anew.",
  });
}

async function mountOf(engine: Engine, record: DeviceRecord): Promise<MountInfo> {
  const dev = (await engine.thins.find(record.uuid))?.dev;
  if (dev !== undefined) {
    const mounts = await engine.kernel.mounts.list();
    const found = mounts.find(
      (mount) => sameDevNumber(mount.dev, dev) && !mount.options.includes("ro"),
    );
    if (found !== undefined) return found;
  }
  throw new PoolError({
    code: "DEVICE_INACTIVE",
    operation: "trim",
    object: record.name,
    reason: "it is not mounted for writing here: only a filesystem knows what it does not use",
    hint: "Mount it first; or discard it, which throws away all that it holds.",
  });
}

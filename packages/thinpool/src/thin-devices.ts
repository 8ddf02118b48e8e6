/** The dm devices of a pool's thin devices. Every call goes by dm uuid (INV-4). */
import {
  type DevNumber,
  type DmDeviceInfo,
  removeDeviceRetrying,
  sameTable,
} from "@thinpool/dm-native";
import { deviceDmName, deviceDmUuid, dmNamePrefix, dmUuidPrefix, poolDmUuid } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { isNative } from "./errors-from-native.ts";
import type { Kernel } from "./kernel.ts";
import { makeLive } from "./make-live.ts";
import { REMOVE_RETRY } from "./remove-retry.ts";
import type { DeviceRecord } from "./store/ledger.ts";
import { describeTable, thinTable } from "./tables.ts";
import { UndoError } from "./undo.ts";

/** How often a resume is tried. It fails for want of memory only, and then soon works again. */
export const MAX_RESUME_ATTEMPTS = 3;

export interface LiveThin {
  readonly deviceUuid: string;
  readonly info: DmDeviceInfo;
}

export class ThinDevices {
  readonly #kernel: Kernel;
  readonly #poolUuid: string;
  readonly #poolDev: DevNumber;

  constructor(kernel: Kernel, poolUuid: string, poolDev: DevNumber) {
    this.#kernel = kernel;
    this.#poolUuid = poolUuid;
    this.#poolDev = poolDev;
  }

  /** create, load, resume: three ioctls. A failure leaves no device behind. */
  async activate(device: DeviceRecord): Promise<void> {
    await makeLive(this.#kernel.dm, {
      name: deviceDmName(this.#poolUuid, device.name),
      uuid: deviceDmUuid(this.#poolUuid, device.uuid),
      table: thinTable(this.#poolDev, device),
    });
  }

  /** Bounded retry while it is busy; one that has no dm device (any more) is fine. */
  async deactivate(deviceUuid: string): Promise<void> {
    try {
      await removeDeviceRetrying(this.#kernel.dm, this.#ref(deviceUuid), REMOVE_RETRY);
    } catch (error) {
      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
    }
  }

  /** Flushes and freezes a filesystem on it. "gone": it has no dm device, so nothing needs a freeze. */
  async suspend(deviceUuid: string): Promise<"suspended" | "gone"> {
    try {
      await this.#kernel.dm.suspend(this.#ref(deviceUuid));
      return "suspended";
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return "gone";
      throw error;
    }
  }

  /** UndoError where it stays suspended after all attempts: whoever uses it hangs until it is resumed. */
  async resume(deviceUuid: string): Promise<void> {
    let last: unknown;
    for (let attempt = 1; attempt <= MAX_RESUME_ATTEMPTS; attempt += 1) {
      try {
        await this.#kernel.dm.resume(this.#ref(deviceUuid));
        return;
      } catch (error) {
        last = error;
      }
    }
    const reason = last instanceof Error ? last.message : String(last);
    throw new UndoError(last, [new Error(`resuming the origin: ${reason}`, { cause: last })]);
  }

  async isLive(deviceUuid: string): Promise<boolean> {
    try {
      return (await this.#kernel.dm.deviceStatus(this.#ref(deviceUuid))).hasLiveTable;
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return false;
      throw error;
    }
  }

  /** All dm devices whose uuid says that they are thin devices of this pool. */
  async live(): Promise<readonly LiveThin[]> {
    const namePrefix = dmNamePrefix(this.#poolUuid);
    const uuidPrefix = dmUuidPrefix(this.#poolUuid);
    const found: LiveThin[] = [];
    for (const entry of await this.#kernel.dm.listDevices()) {
      // Kernels before 5.14 list no uuids: then the name says which to ask.
      const perhaps = entry.uuid?.startsWith(uuidPrefix) ?? entry.name.startsWith(namePrefix);
      if (!perhaps) continue;
      const info = await this.#kernel.dm.deviceStatus({ dev: entry.dev });
      if (info.uuid === undefined || !info.uuid.startsWith(uuidPrefix)) continue;
      if (info.uuid === poolDmUuid(this.#poolUuid)) continue;
      found.push({ deviceUuid: info.uuid.slice(uuidPrefix.length), info });
    }
    return found;
  }

  /** POOL_MISMATCH where a live device is not what its record says. */
  async check(device: DeviceRecord, info: DmDeviceInfo): Promise<void> {
    const name = deviceDmName(this.#poolUuid, device.name);
    const wanted = thinTable(this.#poolDev, device);
    const { targets } = await this.#kernel.dm.table(this.#ref(device.uuid));
    if (sameTable(targets, wanted) && info.name === name) return;
    throw new PoolError({
      code: "POOL_MISMATCH",
      operation: "adoption of a live device",
      object: device.name,
      reason: `it is ${info.name} with ${describeTable(targets)}, not ${name} with ${describeTable(wanted)}`,
      hint: `Somebody changed it: unmount it, remove it (dmsetup remove ${info.name}), open the pool again.`,
    });
  }

  #ref(deviceUuid: string) {
    return { uuid: deviceDmUuid(this.#poolUuid, deviceUuid) };
  }
}

/** The dm devices of a pool's thin devices. Every call goes by dm uuid (INV-4). */
import {
  type ActivateOptions,
  activationSteps,
  type DevNumber,
  type DmDeviceInfo,
  type DmRun,
  type DmStep,
  type DmTarget,
  type DmUuid,
  NativeError,
  removeDeviceRetrying,
  sameTable,
  thinFromParams,
} from "@thinpool/dm-native";
import { dmDevicesOf } from "./dm-devices.ts";
import { deviceDmName, deviceDmUuid, dmUuidPrefix, poolDmUuid } from "./dm-names.ts";
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

/** dm-ioctl.c: takes a deferred removal back. */
const CANCEL_DEFERRED_REMOVE = "@cancel_deferred_remove";

export interface LiveDifference {
  /** For people: what it is, and what it should be. */
  readonly describe: () => string;
  /** Another thin device, another target, or longer than recorded: not ours to change. */
  readonly isAnother: boolean;
  /** A crash came between the record of a new size and the device's. */
  readonly isShorter: boolean;
  readonly isNamedOtherwise: boolean;
}

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
  async activate(
    device: DeviceRecord,
    options: {
      readonly writable?: boolean;
      /** Its `activationSteps`, which run already. */
      readonly begun?: Promise<DmRun> | undefined;
    } = {},
  ): Promise<void> {
    const readOnly = device.readOnly && options.writable !== true;
    const live = this.#liveOptions(device, await this.table(device), readOnly);
    const { info } = await makeLive(this.#kernel.dm, live, options.begun);
    if (info.deferredRemove) await this.#cancelDeferredRemove(live.uuid);
  }

  /** What `activate` does first; undefined where it has to look something up. */
  activationSteps(
    device: DeviceRecord,
    options: { readonly writable?: boolean } = {},
  ): readonly DmStep[] | undefined {
    if (device.externalOrigin !== undefined) return undefined;
    const readOnly = device.readOnly && options.writable !== true;
    const table = thinTable(this.#poolDev, device);
    return activationSteps(this.#liveOptions(device, table, readOnly));
  }

  #liveOptions(
    device: DeviceRecord,
    table: readonly DmTarget[],
    readOnly: boolean,
  ): ActivateOptions {
    const uuid = deviceDmUuid(this.#poolUuid, device.uuid);
    return { name: deviceDmName(this.#poolUuid, device.name), uuid, table, readOnly };
  }

  /** False where it has no live table. One that was to go at its last close stays. */
  async keep(deviceUuid: string): Promise<boolean> {
    try {
      const info = await this.info(deviceUuid);
      if (info.deferredRemove)
        await this.#cancelDeferredRemove(deviceDmUuid(this.#poolUuid, deviceUuid));
      return info.hasLiveTable;
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return false;
      throw error;
    }
  }

  async #cancelDeferredRemove(uuid: DmUuid): Promise<void> {
    await this.#kernel.dm.message({ uuid }, CANCEL_DEFERRED_REMOVE);
  }

  /** The table that the record means. POOL_MISMATCH where its external origin is gone. */
  async table(device: DeviceRecord): Promise<readonly DmTarget[]> {
    const path = device.externalOrigin;
    if (path === undefined) return thinTable(this.#poolDev, device);
    try {
      return thinTable(this.#poolDev, device, await this.#kernel.blocks.number(path));
    } catch (error) {
      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
      throw new PoolError({
        code: "POOL_MISMATCH",
        operation: "look-up of the external origin",
        object: device.name,
        reason: `there is no block device ${path}`,
        hint: "Attach the device that it was made from at this path again.",
        cause: error,
      });
    }
  }

  /**
   * The same for a device that is live. It has its external origin open, whatever has become of that one's path:
   * one clone must not keep the whole pool shut.
   */
  async #tableBeside(
    device: DeviceRecord,
    live: readonly DmTarget[],
  ): Promise<readonly DmTarget[]> {
    try {
      return await this.table(device);
    } catch (error) {
      const [line] = live;
      const isGone = error instanceof PoolError && error.code === "POOL_MISMATCH";
      if (!isGone || line?.type !== "thin") throw error;
      const { externalOrigin } = thinFromParams(line.params);
      if (externalOrigin === undefined) throw error;
      return thinTable(this.#poolDev, device, externalOrigin);
    }
  }

  /** Its new table takes over at once; I/O waits for that moment only. "gone": it has no dm device. */
  async reload(device: DeviceRecord): Promise<"reloaded" | "gone"> {
    const ref = this.#ref(device.uuid);
    try {
      await this.#kernel.dm.loadTable(ref, await this.table(device), { readOnly: device.readOnly });
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return "gone";
      throw error;
    }
    // Swaps the loaded table in, also where it has to suspend first.
    await this.resume(device.uuid);
    return "reloaded";
  }

  /** "gone": it has no dm device, so there is nothing to rename. */
  async rename(device: DeviceRecord): Promise<"renamed" | "gone"> {
    const name = deviceDmName(this.#poolUuid, device.name);
    try {
      await this.#kernel.dm.renameDevice(this.#ref(device.uuid), name);
      return "renamed";
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return "gone";
      throw error;
    }
  }

  /** Bounded retry while it is busy; one that has no dm device (any more) is fine. */
  async deactivate(deviceUuid: string): Promise<void> {
    try {
      await removeDeviceRetrying(this.#kernel.dm, this.#ref(deviceUuid), REMOVE_RETRY);
    } catch (error) {
      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
    }
  }

  /** Removes it now, or, while somebody has it open, at its last close. */
  async deactivateDeferred(deviceUuid: string): Promise<"removed" | "deferred"> {
    try {
      return await this.#kernel.dm.removeDevice(this.#ref(deviceUuid), { deferred: true });
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return "removed";
      throw error;
    }
  }

  /** Flushes and freezes a filesystem on it. "gone": it has no dm device, so nothing needs a freeze. */
  async suspend(deviceUuid: string): Promise<"suspended" | "gone"> {
    try {
      await this.#kernel.dm.suspend(this.#ref(deviceUuid));
      return "suspended";
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return "gone";
      // It may be suspended all the same.
      if (!(error instanceof NativeError)) await this.resume(deviceUuid);
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
    throw new UndoError(last, [new Error(`resuming the device: ${reason}`, { cause: last })]);
  }

  /** Its dm device; undefined where it has none. */
  async find(deviceUuid: string): Promise<DmDeviceInfo | undefined> {
    try {
      return await this.info(deviceUuid);
    } catch (error) {
      if (isNative(error, "NATIVE_NOT_FOUND")) return undefined;
      throw error;
    }
  }

  /** Rejects where it has no dm device. */
  info(deviceUuid: string): Promise<DmDeviceInfo> {
    return this.#kernel.dm.deviceStatus(this.#ref(deviceUuid));
  }

  /** All dm devices whose uuid says that they are thin devices of this pool. */
  async live(): Promise<readonly LiveThin[]> {
    const { length } = dmUuidPrefix(this.#poolUuid);
    const infos = await dmDevicesOf(this.#kernel, this.#poolUuid);
    return infos.flatMap((info) =>
      info.uuid === undefined || info.uuid === poolDmUuid(this.#poolUuid)
        ? []
        : [{ deviceUuid: info.uuid.slice(length), info }],
    );
  }

  /** What a live device has instead of what its record says; opening decides what that means. */
  async compare(device: DeviceRecord, info: DmDeviceInfo): Promise<LiveDifference> {
    const name = deviceDmName(this.#poolUuid, device.name);
    const { targets } = await this.#kernel.dm.table(this.#ref(device.uuid));
    const wanted = await this.#tableBeside(device, targets);
    const length = targets[0]?.lengthSectors;
    const asLong =
      length === undefined ? wanted : wanted.map((line) => ({ ...line, lengthSectors: length }));
    return {
      describe: () =>
        `${info.name} with ${describeTable(targets)}, not ${name} with ${describeTable(wanted)}`,
      isAnother: !sameTable(targets, asLong) || (length ?? 0n) > (wanted[0]?.lengthSectors ?? 0n),
      isShorter: !sameTable(targets, wanted),
      isNamedOtherwise: info.name !== name,
    };
  }

  #ref(deviceUuid: string) {
    return { uuid: deviceDmUuid(this.#poolUuid, deviceUuid) };
  }
}

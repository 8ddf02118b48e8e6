/**
 * Mounting by reference: the first holder activates and mounts a device, the last unmounts and
 * deactivates it. Each step is in the store before the kernel is asked, so a crash at any point leaves
 * a record from which `recover` finishes: a device is mounted with its holders known, or not mounted.
 *
 * The caller runs the operations on one device one after another (`KeyedQueue`).
 */
import { randomUUID } from "node:crypto";
import type { Device, ThinPool } from "@thinpool/thinpool";
import { deviceDmUuid } from "@thinpool/thinpool";
import { primaryGroupOf } from "../accounts.ts";
import { RequestError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { MountFolders } from "../mounts/folders.ts";
import type { Mounter } from "../mounts/mounter.ts";
import type { Principal } from "../policy/policy.ts";
import type { MountRecord, Reference } from "./record.ts";
import { abandon, acquire, confirm, release, revert, settle } from "./record.ts";
import type { ReferenceStore } from "./store.ts";

export interface HeldReference {
  readonly reference: string;
  readonly holderUid: number;
  readonly device: string;
  readonly path: string;
  readonly count: number;
}

export interface MountServiceParts {
  readonly pool: ThinPool;
  readonly store: ReferenceStore;
  readonly mounter: Mounter;
  readonly folders: MountFolders;
  readonly logger: Logger;
}

export class MountService {
  readonly #parts: MountServiceParts;
  /** By device uuid; the same as in the store, which is written first. */
  readonly #records = new Map<string, MountRecord>();

  constructor(parts: MountServiceParts) {
    this.#parts = parts;
  }

  /** Reads the records and brings each in line with the kernel. Failures are logged, and stay to be settled. */
  async recover(): Promise<void> {
    const { store, mounter, logger } = this.#parts;
    for (const record of store.load()) this.#records.set(record.deviceUuid, record);
    for (const record of this.#records.values()) {
      try {
        await this.#settle(record);
      } catch (error) {
        const fields = { device: record.deviceName, state: record.state, error: errorText(error) };
        logger.log("error", "record-not-settled", fields);
      }
    }
    const known = new Set(Array.from(this.#records.values(), ({ mountId }) => mountId));
    for (const info of await mounter.mountsBelowRoot()) {
      if (known.has(info.mountId)) continue;
      const fields = { mountId: info.mountId, path: info.mountPoint, source: info.source };
      logger.log("warn", "mount-without-record-left-alone", fields);
    }
  }

  /** One more reference to the device, for the caller, under an id that was never used before. */
  async create(
    principal: Principal,
    device: Device,
    id: string = randomUUID(),
  ): Promise<HeldReference> {
    const reference: Reference = {
      id,
      holderUid: principal.uid,
      createdAtMs: Date.now(),
    };
    const acquired = acquire(await this.#settled(device.uuid), reference, {
      deviceUuid: device.uuid,
      deviceName: device.name,
      ownerUid: device.ownerUid,
      target: this.#parts.folders.targetOf(device.ownerUid, device.name),
      dmUuid: deviceDmUuid(this.#parts.pool.uuid, device.uuid),
    });
    if (acquired.step === "share") {
      this.#save(acquired.record);
      return describe(acquired.record, reference);
    }
    const mounted = await this.#mount(principal, device, acquired.record);
    return describe(mounted, reference);
  }

  /** Gives the reference up. BUSY where it is the last and a process works in the mount: then it stays. */
  async release(
    id: string,
  ): Promise<{ readonly device: string; readonly count: number } | undefined> {
    const held = this.#find(id);
    if (held === undefined) return undefined;
    const { record } = held;
    if (record.state !== "mounted") {
      // Something went wrong half way: settling ends with the device not mounted, or mounted as before.
      await this.#settle(record);
      const gone = this.#find(id) === undefined;
      return gone ? { device: record.deviceName, count: 0 } : this.release(id);
    }
    const released = release(record, id);
    this.#save(released.record);
    if (released.step === "unmount") await this.#unmount(released.record);
    const { deviceName } = record;
    const count = released.step === "keep" ? released.record.references.length : 0;
    return { device: deviceName, count };
  }

  /** Refuses while it is mounted; what an earlier failure left of its record is settled. */
  async assertRemovable(device: Device): Promise<void> {
    const record = await this.#settled(device.uuid);
    if (record === undefined) return;
    const count = record.references.length;
    throw new RequestError({
      code: "BUSY",
      operation: "device.remove",
      object: device.name,
      reason: `it is mounted, and ${count} ${count === 1 ? "reference holds" : "references hold"} it`,
      hint: "Release its mounts, then remove it.",
    });
  }

  /** The device is no more: nothing is left to be done for it. */
  forget(device: Device): void {
    const record = this.#records.get(device.uuid);
    if (record !== undefined) this.#forget(record);
  }

  /** Gives up all references, for a tear-down. What can't be unmounted stays, and is the error. */
  async releaseAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const { references } of this.#records.values()) {
      for (const { id } of references) {
        try {
          await this.release(id);
        } catch (error) {
          failures.push(error);
        }
      }
    }
    if (failures.length > 0)
      throw new AggregateError(failures, "some mounts could not be released");
  }

  holderOf(id: string): number | undefined {
    return this.#find(id)?.reference.holderUid;
  }

  deviceOf(id: string): string | undefined {
    return this.#find(id)?.record.deviceName;
  }

  countOf(uid: number): number {
    return this.list().filter(({ holderUid }) => holderUid === uid).length;
  }

  list(): readonly HeldReference[] {
    return Array.from(this.#records.values()).flatMap((record) =>
      record.references.map((reference) => describe(record, reference)),
    );
  }

  #find(id: string): { readonly record: MountRecord; readonly reference: Reference } | undefined {
    for (const record of this.#records.values()) {
      const reference = record.references.find((candidate) => candidate.id === id);
      if (reference !== undefined) return { record, reference };
    }
    return undefined;
  }

  #save(record: MountRecord): void {
    this.#parts.store.save(record);
    this.#records.set(record.deviceUuid, record);
  }

  #forget(record: MountRecord): void {
    this.#parts.store.delete(record.deviceUuid);
    this.#records.delete(record.deviceUuid);
  }

  /**
   * The device's record in line with the kernel: none, or one that is "mounted" and really is. One
   * without holders (`abandon`) counts as none: only the deactivation is still to be done.
   */
  async #settled(deviceUuid: string): Promise<MountRecord | undefined> {
    const record = this.#records.get(deviceUuid);
    if (record === undefined) return undefined;
    await this.#settle(record);
    const settled = this.#records.get(deviceUuid);
    return settled?.references.length === 0 ? undefined : settled;
  }

  async #settle(record: MountRecord): Promise<void> {
    const { mounter, folders, logger } = this.#parts;
    const settlement = settle(record, await mounter.observe(record.dmUuid));
    switch (settlement.step) {
      case "keep":
        return;
      case "unmount":
        logger.log("warn", "half-done-mount-undone", {
          device: record.deviceName,
          state: record.state,
          mountId: settlement.mountId,
        });
        await this.#unmount({ ...record, state: "unmounting", mountId: settlement.mountId });
        return;
      case "forget":
        logger.log("warn", "record-dropped", {
          device: record.deviceName,
          state: record.state,
          references: record.references.length,
          reason: settlement.reason,
        });
        // Left by a death between making it and mounting on it; only an empty folder can go.
        await folders.removeTarget(record.target);
        await this.#deactivateAndForget(record);
    }
  }

  async #mount(principal: Principal, device: Device, record: MountRecord): Promise<MountRecord> {
    const { pool, mounter } = this.#parts;
    const gid = device.ownerUid === principal.uid ? principal.gid : await groupOf(device.ownerUid);
    this.#save(record);
    try {
      const active = await pool.activate({ name: device.name });
      const owner = { uid: device.ownerUid, gid };
      const made = await mounter.mount(active.device, record.dmUuid, owner);
      const mounted = confirm(record, made);
      try {
        this.#save(mounted);
      } catch (error) {
        await mounter.unmount(record.target, made.mountId);
        throw error;
      }
      return mounted;
    } catch (error) {
      try {
        await this.#deactivateAndForget(record);
      } catch (undoError) {
        // The first failure is the answer; the record stays "mounting", and is settled on next use.
        const fields = { device: device.name, error: errorText(undoError) };
        this.#parts.logger.log("error", "mount-not-undone", fields);
      }
      throw error;
    }
  }

  /** `record` is "unmounting". A refusal leaves it "mounted", with its holders. */
  async #unmount(record: MountRecord): Promise<void> {
    const { mounter, logger } = this.#parts;
    if (record.mountId === undefined) throw new Error(`no mount id of ${record.deviceName}`);
    try {
      const outcome = await mounter.unmount(record.target, record.mountId);
      if (outcome === "gone") {
        logger.log("warn", "mount-was-gone", { device: record.deviceName, path: record.target });
      }
    } catch (error) {
      if (record.references.length > 0 && record.dev !== undefined) this.#save(revert(record));
      throw error;
    }
    await this.#deactivateAndForget(record);
  }

  /** Not mounted any more. A device that can't be deactivated now keeps a record without holders. */
  async #deactivateAndForget(record: MountRecord): Promise<void> {
    const { pool, logger } = this.#parts;
    const { deviceName: name, deviceUuid } = record;
    // The name may belong to another device by now; the uuid is what the record proves.
    if (pool.has({ name }) && pool.get({ name }).uuid === deviceUuid) {
      try {
        await pool.deactivate({ name });
      } catch (error) {
        logger.log("warn", "device-stays-active", { device: name, error: errorText(error) });
        this.#save(abandon(record));
        return;
      }
    }
    this.#forget(record);
  }
}

function describe(record: MountRecord, reference: Reference): HeldReference {
  return {
    reference: reference.id,
    holderUid: reference.holderUid,
    device: record.deviceName,
    path: record.target,
    count: record.references.length,
  };
}

/** The group that the mount shows as the owner's, where root mounts for another. */
async function groupOf(uid: number): Promise<number> {
  return uid === 0 ? 0 : primaryGroupOf(uid);
}

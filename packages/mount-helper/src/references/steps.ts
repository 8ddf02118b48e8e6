/**
 * The steps between a record and the kernel: each lasts in the store before the kernel is asked, so that
 * a death at any point leaves a record from which `settle` goes on.
 */
import type { Device, ThinPool } from "@thinpool/thinpool";
import { groupIdsOf, primaryGroupOf } from "../accounts.ts";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { FolderRights, Mounter } from "../mounts/mounter.ts";
import type { RulesFor } from "../mounts/rules.ts";
import type { MountRecord } from "./record.ts";
import { confirm, refused, settle, unmounted, withdraw } from "./record.ts";
import type { Records } from "./records.ts";

export interface StepsParts {
  readonly pool: ThinPool;
  readonly records: Records;
  readonly mounter: Mounter;
  readonly rulesFor: RulesFor;
  readonly logger: Logger;
  readonly bootId: string;
}

/** All are called in the turn of the device. */
export class MountSteps {
  readonly #parts: StepsParts;

  constructor(parts: StepsParts) {
    this.#parts = parts;
  }

  /** `record` is "mounting". Whatever fails, nothing is mounted, and the record is gone. */
  async mount(device: Device, record: MountRecord, rights: FolderRights): Promise<MountRecord> {
    await this.#parts.records.save(record);
    try {
      return await this.#mountAndConfirm(device, record, rights);
    } catch (error) {
      try {
        await this.deactivateAndForget(record);
      } catch (undoError) {
        // The first failure is the answer; the record stays, and is settled on next use.
        const fields = { device: device.name, error: errorText(undoError) };
        this.#parts.logger.log("error", "mount-not-undone", fields);
      }
      throw error;
    }
  }

  /** `record` is "unmounting". A refusal puts it back to what it was before. */
  async unmount(record: MountRecord, options: { readonly lazy?: boolean } = {}): Promise<void> {
    const { mounter, records, logger } = this.#parts;
    try {
      const outcome = await mounter.unmount(record, options);
      if (outcome === "gone") {
        logger.log("warn", "mount-was-gone", { device: record.deviceName, path: record.target });
      }
    } catch (error) {
      // Its holder is told that it stays.
      await records.save(refused(record));
      throw error;
    }
    if (options.lazy === true) await mounter.removeAtLastClose(record.dmUuid);
    await this.deactivateAndForget(record);
  }

  /** `record` is "releasing": nobody holds it. Rejects, and it stays so, while it is busy. */
  async takeDown(record: MountRecord, options: { readonly lazy?: boolean } = {}): Promise<void> {
    const withdrawn = withdraw(record);
    await this.#parts.records.save(withdrawn);
    await this.unmount(withdrawn, options);
  }

  /** Brings the record in line with the kernel: gone, "mounted" or "releasing", and really so. */
  async settle(record: MountRecord): Promise<void> {
    const { mounter, records, logger, bootId } = this.#parts;
    const observed = await mounter.observe(record, bootId);
    const settlement = settle(record, observed, records.takenBeside(record));
    const { deviceName: device, state } = record;
    switch (settlement.step) {
      case "keep":
        return;
      case "adopt":
        await records.save(confirm(record, { ...settlement, bootId }));
        return;
      case "remount":
        await this.#mountAgain(settlement.record);
        return;
      case "unmount": {
        const { mountId, dev } = settlement;
        logger.log("warn", "half-done-mount-undone", { device, state, mountId });
        // Nobody was told of it, or its last holder gave it up: no reference is left.
        const leaving = { ...record, state: "unmounting", mountId, dev, references: [] } as const;
        await records.save(leaving);
        await this.unmount(leaving);
        return;
      }
      case "deactivate": {
        const { reason } = settlement;
        const references = record.references.length;
        if (state !== "deactivating") {
          logger.log("warn", "record-dropped", { device, state, references, reason });
        }
        // Who held it has lost it: it does not come back after a reboot.
        if (references > 0) await records.save(unmounted(record));
        // Left by a death between making it and mounting on it; only an empty folder can go.
        await mounter.tidy(record);
        await this.deactivateAndForget(record);
      }
    }
  }

  /** Not mounted any more. A device that can't be deactivated now keeps a record without holders. */
  async deactivateAndForget(record: MountRecord): Promise<void> {
    const { pool, records, logger } = this.#parts;
    const { deviceName: name, deviceUuid } = record;
    const isLast = records.ofDevice(deviceUuid).every(({ id }) => id === record.id);
    // The name may belong to another device by now; the uuid is what the record proves.
    if (isLast && pool.has({ name }) && pool.get({ name }).uuid === deviceUuid) {
      try {
        await pool.deactivate({ name });
      } catch (error) {
        logger.log("warn", "device-stays-active", { device: name, error: errorText(error) });
        await records.save(unmounted(record));
        return;
      }
    }
    records.forget(record);
  }

  /**
   * At the start: what was activated to grow its filesystem, and left by a death, is inactive again. Not those
   * that somebody has open, or that are active for a reason of which the daemon knows nothing.
   */
  async deactivateHalfGrown(): Promise<void> {
    const { pool, records, logger } = this.#parts;
    for (const { name, uuid, active, filesystemSmaller } of pool.list()) {
      if (!active || !filesystemSmaller || records.ofDevice(uuid).length > 0) continue;
      try {
        await pool.deactivate({ name });
        logger.log("info", "half-grown-device-deactivated", { device: name });
      } catch (error) {
        logger.log("warn", "device-stays-active", { device: name, error: errorText(error) });
      }
    }
  }

  async #mountAndConfirm(
    device: Device,
    record: MountRecord,
    rights: FolderRights,
  ): Promise<MountRecord> {
    const { pool, mounter, records, bootId } = this.#parts;
    const active = await pool.activate({ name: device.name });
    const made = await mounter.mount(active.device, record, rights);
    const confirmed = confirm(record, { ...made, bootId });
    try {
      await records.save(confirmed);
    } catch (error) {
      await mounter.unmount(confirmed);
      throw error;
    }
    return confirmed;
  }

  /** After a reboot. Where it can't be, the record stays "absent", with its holders. */
  async #mountAgain(record: MountRecord): Promise<void> {
    const { pool, records, logger } = this.#parts;
    const { deviceName: name, deviceUuid } = record;
    if (!pool.has({ name }) || pool.get({ name }).uuid !== deviceUuid) {
      logger.log("warn", "record-dropped", { device: name, reason: "the device is no more" });
      records.forget(record);
      return;
    }
    await records.save(record);
    await this.#mountAndConfirm(pool.get({ name }), record, await this.#rightsOfHolder(record));
    logger.log("info", "mounted-again", { device: name, path: record.target });
  }

  /** Nobody is there to ask with: the accounts say which groups the holder is in. */
  async #rightsOfHolder(record: MountRecord): Promise<FolderRights> {
    const uid = record.references[0]?.holderUid ?? record.owner.uid;
    const [gid, groups] = await Promise.all([primaryGroupOf(uid), groupIdsOf(uid)]);
    return {
      ids: { uid, gid, groups },
      roots: this.#parts.rulesFor({ uid }).folderRoots,
      namespace: undefined,
    };
  }
}

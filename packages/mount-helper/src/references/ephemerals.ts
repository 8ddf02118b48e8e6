/**
 * Ephemeral clones: gone with their last reference. Until the first mount the session that made the
 * clone holds it, so that one whose maker dies before mounting is not left.
 *
 * The record is written before the clone is made, by its name: all operations on a name wait for each
 * other, and the name is free at that moment, so after a crash a device of that name is this one.
 */
import type { Device, ThinPool } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";

export interface EphemeralRecord {
  readonly deviceName: string;
  /** Undefined while it is being made. */
  readonly deviceUuid: string | undefined;
  /** Who holds it until it is mounted; undefined once it has been. */
  readonly session: string | undefined;
}

export interface EphemeralStore {
  loadEphemerals(): readonly EphemeralRecord[];
  saveEphemeral(record: EphemeralRecord): void;
  deleteEphemeral(deviceName: string): void;
}

export interface EphemeralsParts {
  readonly pool: ThinPool;
  readonly store: EphemeralStore;
  readonly logger: Logger;
  /** Whether a mount of the device has a holder, or is still there. */
  readonly isMounted: (deviceUuid: string) => boolean;
}

/** All but `load` and `due` are called in the turn of the device's name. */
export class Ephemerals {
  readonly #parts: EphemeralsParts;
  readonly #records = new Map<string, EphemeralRecord>();

  constructor(parts: EphemeralsParts) {
    this.#parts = parts;
  }

  /** At the start, before any call is served. */
  load(): void {
    const { store, pool } = this.#parts;
    for (const record of store.loadEphemerals()) {
      const { deviceName: name, deviceUuid } = record;
      if (!pool.has({ name })) {
        store.deleteEphemeral(name);
        continue;
      }
      const { uuid } = pool.get({ name });
      if (deviceUuid !== undefined && deviceUuid !== uuid) store.deleteEphemeral(name);
      else this.#records.set(name, { ...record, deviceUuid: uuid });
    }
  }

  /** Makes the clone by `make`; it is `session`'s until it is mounted. */
  async create(name: string, session: string, make: () => Promise<Device>): Promise<Device> {
    const { pool } = this.#parts;
    // A taken name is `make`'s to refuse; it must not be taken for the clone after a crash.
    if (pool.has({ name })) return make();
    this.#save({ deviceName: name, deviceUuid: undefined, session });
    let device: Device;
    try {
      device = await make();
    } catch (error) {
      this.#delete(name);
      throw error;
    }
    this.#save({ deviceName: name, deviceUuid: device.uuid, session });
    return device;
  }

  get size(): number {
    return this.#records.size;
  }

  has(deviceUuid: string): boolean {
    return Array.from(this.#records.values()).some((record) => record.deviceUuid === deviceUuid);
  }

  /** Its first mount is held: from now on it is the mounts' holders who keep it. */
  mounted({ name, uuid }: Device): void {
    const record = this.#records.get(name);
    if (record?.deviceUuid !== uuid || record.session === undefined) return;
    this.#save({ ...record, session: undefined });
  }

  /** From now on it stays, whoever holds it. */
  keep({ name, uuid }: Device): void {
    if (this.#records.get(name)?.deviceUuid === uuid) this.#delete(name);
  }

  /** Somebody removed it by name. */
  forget({ name, uuid }: Device): void {
    if (this.#records.get(name)?.deviceUuid === uuid) this.#delete(name);
  }

  /** Names of those that nobody holds: neither the session that made them nor a mount. */
  due(isAlive: (session: string) => boolean): readonly string[] {
    return Array.from(this.#records.values())
      .filter((record) => this.#isDue(record, isAlive))
      .map(({ deviceName }) => deviceName);
  }

  /** Removes it if nobody holds it; a refusal is logged, and it stays due. */
  async collect(name: string, isAlive: (session: string) => boolean): Promise<void> {
    const { pool, logger } = this.#parts;
    const record = this.#records.get(name);
    if (record === undefined || !this.#isDue(record, isAlive)) return;
    try {
      if (pool.has({ name }) && pool.get({ name }).uuid === record.deviceUuid) {
        await pool.remove({ name });
        logger.log("info", "ephemeral-removed", { device: name });
      }
      this.#delete(name);
    } catch (error) {
      logger.log("warn", "ephemeral-stays", { device: name, error: errorText(error) });
    }
  }

  #isDue({ deviceUuid, session }: EphemeralRecord, isAlive: (id: string) => boolean): boolean {
    if (deviceUuid === undefined || this.#parts.isMounted(deviceUuid)) return false;
    return session === undefined || !isAlive(session);
  }

  #save(record: EphemeralRecord): void {
    this.#parts.store.saveEphemeral(record);
    this.#records.set(record.deviceName, record);
  }

  #delete(name: string): void {
    this.#parts.store.deleteEphemeral(name);
    this.#records.delete(name);
  }
}

/**
 * Ephemeral clones: gone with their last reference. Until the first mount the session that made the
 * clone holds it, so that one whose maker dies before mounting is not left.
 *
 * The record is durable before the clone is made, with the uuid that it is to get: after a crash a device
 * of that name and uuid is this one.
 */
import type { Device, ThinPool } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";

export interface EphemeralRecord {
  readonly deviceName: string;
  /** In memory undefined while it is being made; in the store only where an earlier version was making it. */
  readonly deviceUuid: string | undefined;
  /** Who holds it until it is mounted; undefined once it has been. */
  readonly session: string | undefined;
}

/** What is written may be lost with the power until `lasting` has resolved. */
export interface EphemeralStore {
  loadEphemerals(): readonly EphemeralRecord[];
  saveEphemeral(record: EphemeralRecord): void;
  deleteEphemeral(deviceName: string): void;
  lasting(): Promise<void>;
}

/** One that is to be made. */
export interface NewEphemeral {
  readonly name: string;
  readonly uuid: string;
  /** Holds it until it is mounted. */
  readonly session: string;
}

export interface EphemeralsParts {
  readonly pool: ThinPool;
  readonly store: EphemeralStore;
  readonly logger: Logger;
  /** Whether a mount of the device has a holder, or is still there. */
  readonly isMounted: (deviceUuid: string) => boolean;
  /** One is no more: what others know of it goes, too. Told again where it failed. */
  readonly onGone: (deviceUuid: string) => void;
}

/** All but `load` and `due` are called in the turn of the device's name. */
export class Ephemerals {
  readonly #parts: EphemeralsParts;
  /** By the device's name. */
  readonly #records = new Map<string, EphemeralRecord>();
  /** Of those that are made. */
  readonly #uuids = new Set<string>();

  constructor(parts: EphemeralsParts) {
    this.#parts = parts;
  }

  /** At the start, before any call is served; the mounts are known. */
  load(): void {
    const { store, pool, onGone, isMounted } = this.#parts;
    for (const record of store.loadEphemerals()) {
      const { deviceName: name, deviceUuid } = record;
      const uuid = pool.has({ name }) ? pool.get({ name }).uuid : undefined;
      if (uuid !== undefined && (deviceUuid ?? uuid) === uuid) {
        // Else the power, or a full disk, took along that it was mounted.
        const session = isMounted(uuid) ? undefined : record.session;
        this.#set({ ...record, session, deviceUuid: uuid });
        continue;
      }
      if (deviceUuid !== undefined) onGone(deviceUuid);
      store.deleteEphemeral(name);
    }
  }

  /** Makes the clone, of that uuid, by `make`. */
  async create(
    { name, uuid, session }: NewEphemeral,
    make: () => Promise<Device>,
  ): Promise<Device> {
    const { pool, store } = this.#parts;
    // A taken name is `make`'s to refuse.
    if (pool.has({ name })) return make();
    store.saveEphemeral({ deviceName: name, deviceUuid: uuid, session });
    this.#set({ deviceName: name, deviceUuid: undefined, session });
    try {
      await store.lasting();
      const device = await make();
      this.#set({ deviceName: name, deviceUuid: device.uuid, session });
      return device;
    } catch (error) {
      // It is nobody's now, whatever becomes of its record: `load` finds no device for that.
      this.#drop(name);
      this.#write(name, () => store.deleteEphemeral(name));
      throw error;
    }
  }

  get size(): number {
    return this.#records.size;
  }

  has(deviceUuid: string): boolean {
    return this.#uuids.has(deviceUuid);
  }

  /**
   * Its first mount is held: from now on it is the mounts' holders who keep it. Never throws: the mount is
   * there, and nothing stands on this record of it. Where it can't be written, or the power takes it along,
   * `load` goes by the mount, and the session does not outlive the boot.
   */
  mounted({ name, uuid }: Device): void {
    const record = this.#records.get(name);
    if (record?.deviceUuid !== uuid || record.session === undefined) return;
    const held = { ...record, session: undefined };
    this.#set(held);
    this.#write(name, () => this.#parts.store.saveEphemeral(held));
  }

  /** Another session has it from now on, if none of its mounts' holders does. */
  holdBy({ name, uuid }: Device, session: string): void {
    const record = this.#records.get(name);
    if (record?.deviceUuid !== uuid || record.session === undefined) return;
    const held = { ...record, session };
    this.#parts.store.saveEphemeral(held);
    this.#set(held);
  }

  /** From when it resolves it stays, whoever holds it; until then, and where it rejects, it is as before. */
  async keep({ name, uuid }: Device): Promise<void> {
    const record = this.#records.get(name);
    if (record?.deviceUuid !== uuid) return;
    const { store } = this.#parts;
    store.deleteEphemeral(name);
    await store.lasting();
    // Removed by name meanwhile, another of that name may be there.
    if (this.#records.get(name) === record) this.#drop(name);
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
    const { pool, logger, onGone } = this.#parts;
    const record = this.#records.get(name);
    const uuid = record?.deviceUuid;
    if (record === undefined || uuid === undefined || !this.#isDue(record, isAlive)) return;
    try {
      if (pool.has({ name }) && pool.get({ name }).uuid === uuid) {
        await pool.remove({ name });
        logger.log("info", "ephemeral-removed", { device: name });
      }
      onGone(uuid);
      this.#delete(name);
    } catch (error) {
      logger.log("warn", "ephemeral-stays", { device: name, error: errorText(error) });
    }
  }

  #isDue({ deviceUuid, session }: EphemeralRecord, isAlive: (id: string) => boolean): boolean {
    if (deviceUuid === undefined || this.#parts.isMounted(deviceUuid)) return false;
    return session === undefined || !isAlive(session);
  }

  /** Of one that is not there. The power may take this along: `load` does it then. */
  #delete(name: string): void {
    this.#parts.store.deleteEphemeral(name);
    this.#drop(name);
  }

  /** What nothing stands on. */
  #write(name: string, write: () => void): void {
    try {
      write();
    } catch (error) {
      const fields = { device: name, error: errorText(error) };
      this.#parts.logger.log("warn", "ephemeral-not-recorded", fields);
    }
  }

  #set(record: EphemeralRecord): void {
    this.#drop(record.deviceName);
    this.#records.set(record.deviceName, record);
    if (record.deviceUuid !== undefined) this.#uuids.add(record.deviceUuid);
  }

  #drop(name: string): void {
    const uuid = this.#records.get(name)?.deviceUuid;
    if (uuid !== undefined) this.#uuids.delete(uuid);
    this.#records.delete(name);
  }
}

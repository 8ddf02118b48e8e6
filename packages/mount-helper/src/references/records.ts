/** The records of mounts in memory: the same as in the store, which is written first. */
import type { Reference } from "./holder.ts";
import type { MountRecord } from "./record.ts";
import type { ReferenceStore } from "./store.ts";

export interface Found {
  readonly record: MountRecord;
  readonly reference: Reference;
}

export class Records {
  readonly #store: ReferenceStore;
  readonly #records = new Map<string, MountRecord>();
  /** The ids of the records of each device, and of the record that has each reference. */
  readonly #byDevice = new Map<string, Set<string>>();
  readonly #byReference = new Map<string, string>();

  constructor(store: ReferenceStore) {
    this.#store = store;
  }

  load(): void {
    for (const record of this.#store.load()) this.#set(record);
  }

  all(): readonly MountRecord[] {
    return Array.from(this.#records.values());
  }

  get(id: string): MountRecord | undefined {
    return this.#records.get(id);
  }

  ofDevice(deviceUuid: string): readonly MountRecord[] {
    const ids = this.#byDevice.get(deviceUuid) ?? [];
    return Array.from(ids).flatMap((id) => this.#records.get(id) ?? []);
  }

  find(reference: string): Found | undefined {
    const record = this.#records.get(this.#byReference.get(reference) ?? "");
    const found = record?.references.find(({ id }) => id === reference);
    return record === undefined || found === undefined ? undefined : { record, reference: found };
  }

  /** From now on it is so, for everybody here; durable when it resolves. Where it rejects it is as before. */
  async save(record: MountRecord): Promise<void> {
    const before = this.#records.get(record.id);
    this.#store.save(record);
    this.#set(record);
    try {
      await this.#store.lasting();
    } catch (error) {
      // Nothing is built on it, and nobody is told; whether it is on disk the next start reads.
      if (before === undefined) this.#delete(record.id);
      else this.#set(before);
      throw error;
    }
  }

  /**
   * Of what is not there any more; nobody waits for it. Should the power take this along, the record that
   * comes back says that it was on its way, or is of a device that is no more: the next start forgets it.
   */
  forget(record: MountRecord): void {
    this.#store.delete(record.id);
    this.#delete(record.id);
  }

  /** The mount ids that the other records are about. */
  takenBeside(record: MountRecord): ReadonlySet<number> {
    const ids = this.all()
      .filter(({ id }) => id !== record.id)
      .flatMap(({ mountId }) => (mountId === undefined ? [] : [mountId]));
    return new Set(ids);
  }

  /** A record keeps its place among all, and its device. */
  #set(record: MountRecord): void {
    const { id, deviceUuid } = record;
    this.#forgetReferences(id);
    this.#records.set(id, record);
    for (const reference of record.references) this.#byReference.set(reference.id, id);
    const ofDevice = this.#byDevice.get(deviceUuid) ?? new Set();
    this.#byDevice.set(deviceUuid, ofDevice.add(id));
  }

  #delete(id: string): void {
    const record = this.#records.get(id);
    if (record === undefined) return;
    this.#forgetReferences(id);
    this.#records.delete(id);
    const ofDevice = this.#byDevice.get(record.deviceUuid);
    ofDevice?.delete(id);
    if (ofDevice?.size === 0) this.#byDevice.delete(record.deviceUuid);
  }

  #forgetReferences(id: string): void {
    for (const reference of this.#records.get(id)?.references ?? []) {
      if (this.#byReference.get(reference.id) === id) this.#byReference.delete(reference.id);
    }
  }
}

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

  constructor(store: ReferenceStore) {
    this.#store = store;
  }

  load(): void {
    for (const record of this.#store.load()) this.#records.set(record.id, record);
  }

  all(): readonly MountRecord[] {
    return Array.from(this.#records.values());
  }

  get(id: string): MountRecord | undefined {
    return this.#records.get(id);
  }

  ofDevice(deviceUuid: string): readonly MountRecord[] {
    return this.all().filter((record) => record.deviceUuid === deviceUuid);
  }

  find(reference: string): Found | undefined {
    for (const record of this.#records.values()) {
      const found = record.references.find(({ id }) => id === reference);
      if (found !== undefined) return { record, reference: found };
    }
    return undefined;
  }

  /** From now on it is so, for everybody here; durable when it resolves. Where it rejects it is as before. */
  async save(record: MountRecord): Promise<void> {
    const before = this.#records.get(record.id);
    this.#store.save(record);
    this.#records.set(record.id, record);
    try {
      await this.#store.lasting();
    } catch (error) {
      // Nothing is built on it, and nobody is told; whether it is on disk the next start reads.
      if (before === undefined) this.#records.delete(record.id);
      else this.#records.set(record.id, before);
      throw error;
    }
  }

  /**
   * Of what is not there any more; nobody waits for it. Should the power take this along, the record that
   * comes back says that it was on its way, or is of a device that is no more: the next start forgets it.
   */
  forget(record: MountRecord): void {
    this.#store.delete(record.id);
    this.#records.delete(record.id);
  }

  /** The mount ids that the other records are about. */
  takenBeside(record: MountRecord): ReadonlySet<number> {
    const ids = this.all()
      .filter(({ id }) => id !== record.id)
      .flatMap(({ mountId }) => (mountId === undefined ? [] : [mountId]));
    return new Set(ids);
  }
}

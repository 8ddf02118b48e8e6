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

  /** Durable when it returns. */
  save(record: MountRecord): void {
    this.#store.save(record);
    this.#records.set(record.id, record);
  }

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

/** The kernel's side of making devices: messages, with active origins held still for their snapshots. */
import { type ThinId, thinPoolMessage } from "@thinpool/dm-native";
import type { DeviceStates } from "./device-state.ts";
import { isNative } from "./errors-from-native.ts";
import type { MetadataSnapshot } from "./health/metadata-snapshot.ts";
import { deviceOf, foreignReason, isLeftover, leftoverReason } from "./health/thin-proof.ts";
import type { PoolDevice } from "./pool-device.ts";
import type { DeviceRecord, Ledger, NewDevice } from "./store/ledger.ts";
import type { ThinDevices } from "./thin-devices.ts";
import type { MetadataListing } from "./tools/metadata-tools.ts";
import { transition } from "./transition.ts";
import { withUndo } from "./undo.ts";

/** How often one creation is told that its id is taken, before it fails. */
export const MAX_TAKEN_IDS_PER_CREATION = 16;

export interface Creation {
  readonly device: NewDevice;
  /** Undefined: an empty device. */
  readonly origin: DeviceRecord | undefined;
}

export interface Made {
  readonly records: readonly DeviceRecord[];
  /** From before the first active origin was suspended until the last was resumed. */
  readonly pauseMs: number;
}

export interface ThinMakerParts {
  readonly ledger: Ledger;
  readonly pool: PoolDevice;
  readonly thins: ThinDevices;
  readonly states: DeviceStates;
  readonly metadataSnapshot: Pick<MetadataSnapshot, "look">;
}

/** Makes the devices of one group of a transaction. */
export class ThinMaker {
  readonly #parts: ThinMakerParts;
  /** By uuid of an active origin: the first snapshot of it in this group. */
  readonly #taken = new Map<string, ThinId>();
  /** The metadata when an id was last found taken: one look serves all that are. */
  #seen: MetadataListing | undefined;

  constructor(parts: ThinMakerParts) {
    this.#parts = parts;
  }

  /**
   * All of them, or none: what was made is deleted again (UndoError where that fails). All active
   * origins are suspended for all of it, so that the snapshots are of one moment. A single snapshot
   * of an origin that this group has a snapshot of already is made from that one: nobody has written
   * to it, so its content is the origin's of that moment, and the origin is held only once.
   */
  make(creations: readonly Creation[], records: readonly DeviceRecord[]): Promise<Made> {
    return withUndo(async (undo) => {
      const sibling = this.#sibling(creations);
      const origins = sibling === undefined ? this.#activeOrigins(creations) : [];
      const began = performance.now();
      const held = await this.#suspend(origins);
      const made: DeviceRecord[] = [];
      let pauseMs = 0;
      try {
        for (const [index, intent] of records.entries()) {
          const record = await this.#makeThin(intent, sibling ?? creations[index]?.origin?.thinId);
          undo.push("deleting the thin device", () => this.#parts.pool.deleteThin(record.thinId));
          made.push(record);
        }
      } finally {
        // Whatever happened: a suspended origin hangs everybody who uses it. A failure of this is an
        // UndoError and outranks any other.
        await this.#resume(held);
        if (held.length > 0) pauseMs = performance.now() - began;
      }
      for (const [index, { origin }] of creations.entries()) {
        const id = made[index]?.thinId;
        if (origin !== undefined && held.includes(origin) && id !== undefined) {
          this.#taken.set(origin.uuid, id);
        }
      }
      return { records: made, pauseMs };
    });
  }

  /**
   * The messages that make them, in the order of the records; undefined where something has to be done
   * in between: an active origin is suspended, and several are taken back together.
   */
  straightMessages(
    creations: readonly Creation[],
    records: readonly DeviceRecord[],
  ): readonly string[] | undefined {
    if (creations.length > 1 || this.#activeOrigins(creations).length > 0) return undefined;
    return records.map(({ thinId }, index) => {
      const origin = creations[index]?.origin;
      return origin === undefined
        ? thinPoolMessage.createThin(thinId)
        : thinPoolMessage.createSnap(thinId, origin.thinId);
    });
  }

  #sibling(creations: readonly Creation[]): ThinId | undefined {
    const origin = creations.length === 1 ? creations[0]?.origin : undefined;
    return origin === undefined ? undefined : this.#taken.get(origin.uuid);
  }

  /** Each once, in the order of their names. */
  #activeOrigins(creations: readonly Creation[]): readonly DeviceRecord[] {
    const byUuid = new Map<string, DeviceRecord>();
    for (const { origin } of creations) {
      if (origin !== undefined && this.#parts.states.isActive(origin.uuid)) {
        byUuid.set(origin.uuid, origin);
      }
    }
    return [...byUuid.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Those that are suspended now; one whose dm device somebody removed needs no freeze. */
  async #suspend(origins: readonly DeviceRecord[]): Promise<readonly DeviceRecord[]> {
    const { states, thins } = this.#parts;
    const held: DeviceRecord[] = [];
    try {
      for (const origin of origins) {
        const suspending = (): Promise<"suspended" | "gone"> => thins.suspend(origin.uuid);
        if ((await transition(states, origin, "suspend", suspending)) === "gone") {
          states.set(origin.uuid, "inactive");
        } else {
          held.push(origin);
        }
      }
      return held;
    } catch (error) {
      await this.#resume(held);
      throw error;
    }
  }

  /** All of them, also when one can't be. */
  async #resume(held: readonly DeviceRecord[]): Promise<void> {
    const { states, thins } = this.#parts;
    const failures: unknown[] = [];
    for (const origin of held) {
      try {
        await transition(states, origin, "resume", () => thins.resume(origin.uuid));
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  async #makeThin(intent: DeviceRecord, source: ThinId | undefined): Promise<DeviceRecord> {
    const { pool } = this.#parts;
    let record = intent;
    for (let taken = 0; ; taken += 1) {
      try {
        if (source === undefined) await pool.createThin(record.thinId);
        else await pool.createSnapshot(record.thinId, source);
        return record;
      } catch (error) {
        if (!isNative(error, "NATIVE_EXISTS") || taken >= MAX_TAKEN_IDS_PER_CREATION) throw error;
        record = await this.#reconcile(record);
      }
    }
  }

  /**
   * The kernel says that the record's id is taken. Nothing is there: it is free after all. What a
   * creation of ours left goes. All else stays, and the record gets the next free id (INV-4).
   */
  async #reconcile(record: DeviceRecord): Promise<DeviceRecord> {
    const { ledger, pool, metadataSnapshot } = this.#parts;
    const { thinId } = record;
    let found = this.#seen && deviceOf(this.#seen, thinId);
    if (found === undefined) {
      this.#seen = await metadataSnapshot.look();
      found = this.#seen && deviceOf(this.#seen, thinId);
      if (this.#seen !== undefined && found === undefined) return record;
    }
    if (found === undefined || !isLeftover(found, ledger.takenBackAt(thinId))) {
      return ledger.passOverThinId(record, foreignReason(found), Date.now());
    }
    const why = { action: "remove-leftover", object: `thin id ${thinId}` };
    ledger.journal.append([{ ...why, reason: leftoverReason(found) }], Date.now());
    await pool.deleteThin(thinId);
    return record;
  }
}

/**
 * What the verbs of an open pool share: its parts, its transaction id, its life, and the one way into
 * every change. Each verb is a function of its own in verbs/ that takes this.
 */
import { dmNodePath, type TransactionId } from "@thinpool/dm-native";
import type { Backing } from "./backing.ts";
import type { Device } from "./device.ts";
import type { DeviceStates } from "./device-state.ts";
import { deviceDmName } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { poolErrorFrom } from "./errors-from-native.ts";
import { MetadataSnapshot } from "./health/metadata-snapshot.ts";
import type { Kernel } from "./kernel.ts";
import { type DeviceName, deviceName } from "./names.ts";
import type { PoolDevice } from "./pool-device.ts";
import { SerialQueue } from "./queue.ts";
import {
  type DeviceRecord,
  type Ledger,
  LedgerCommitError,
  type PoolRecord,
} from "./store/ledger.ts";
import type { ThinDevices } from "./thin-devices.ts";
import { degradedError, UndoError } from "./undo.ts";

export interface EngineParts {
  readonly kernel: Kernel;
  readonly folder: string;
  readonly record: PoolRecord;
  readonly lock: Disposable;
  readonly ledger: Ledger;
  readonly backing: Backing;
  readonly pool: PoolDevice;
  readonly thins: ThinDevices;
  readonly states: DeviceStates;
  /** The kernel's, agreed on with the ledger. */
  readonly transactionId: TransactionId;
}

export type Life =
  | { readonly state: "open" }
  /** A roll-back failed: reading and closing are possible, changes are not (INV-7). */
  | { readonly state: "degraded"; readonly reason: string }
  | { readonly state: "closed" };

export class Engine {
  readonly kernel: Kernel;
  readonly folder: string;
  readonly ledger: Ledger;
  readonly pool: PoolDevice;
  readonly thins: ThinDevices;
  readonly states: DeviceStates;
  readonly metadataSnapshot: MetadataSnapshot;
  /** The pool's own record as the ledger has it. */
  poolRecord: PoolRecord;
  backing: Backing;
  /** The kernel's pool is at it; no record above it counts (INV-1). */
  transactionId: TransactionId;
  readonly #lock: Disposable;
  readonly #queue = new SerialQueue();
  #life: Life = { state: "open" };

  constructor(parts: EngineParts) {
    this.kernel = parts.kernel;
    this.folder = parts.folder;
    this.ledger = parts.ledger;
    this.pool = parts.pool;
    this.thins = parts.thins;
    this.states = parts.states;
    this.poolRecord = parts.record;
    this.backing = parts.backing;
    this.transactionId = parts.transactionId;
    this.#lock = parts.lock;
    this.metadataSnapshot = new MetadataSnapshot(this);
  }

  get uuid(): string {
    return this.poolRecord.uuid;
  }

  get life(): Life {
    return this.#life;
  }

  /** The one way into every change: checks, the queue, and what an error means for the pool. */
  change<T>(operation: string, object: string, body: () => Promise<T>): Promise<T> {
    return this.exclusive(operation, async () => {
      try {
        this.assertWritable(operation, object);
        return await body();
      } catch (error) {
        throw this.failure(error, operation, object);
      }
    });
  }

  /** A change of one device: as `change`, with its name checked. */
  changeDevice<T>(
    operation: string,
    object: string,
    body: (name: DeviceName) => Promise<T>,
  ): Promise<T> {
    return this.change(operation, object, () => body(deviceName(object)));
  }

  /** Runs when all changes asked for before it are over, in whatever state the pool then is. */
  exclusive<T>(operation: string, body: () => Promise<T>): Promise<T> {
    return this.#queue.run(operation, body);
  }

  /** What a failed change throws; one that could not be undone makes the pool degraded (INV-7). */
  failure(error: unknown, operation: string, object: string): PoolError {
    if (error instanceof UndoError || error instanceof LedgerCommitError) {
      const degraded = degradedError(operation, object, error);
      this.#life = { state: "degraded", reason: degraded.reason };
      return degraded;
    }
    return poolErrorFrom(error, { operation, object });
  }

  /** DEVICE_NOT_FOUND where no record of this name counts. */
  device(operation: string, name: string): DeviceRecord {
    const record = this.ledger.byName(name, this.transactionId);
    if (record !== undefined) return record;
    throw new PoolError({
      code: "DEVICE_NOT_FOUND",
      operation,
      object: JSON.stringify(name),
      reason: "the pool has no such device",
      hint: "List the devices to see what there is.",
    });
  }

  view(record: DeviceRecord): Device {
    const { uuid, name, thinId, sizeBytes, filesystem, originUuid, createdAtMs, ownerUid } = record;
    return {
      uuid,
      name,
      thinId,
      sizeBytes,
      filesystem,
      originUuid,
      createdAtMs,
      ownerUid,
      transactionId: record.transactionId,
      active: this.states.isActive(uuid),
      path: this.path(record),
    };
  }

  path(record: { readonly name: DeviceName }): string {
    return dmNodePath(deviceDmName(this.uuid, record.name));
  }

  /** Gives the folder back. Whatever is up in the kernel stays. */
  release(): void {
    this.#life = { state: "closed" };
    this.ledger.close();
    this.#lock[Symbol.dispose]();
  }

  assertNotClosed(operation: string, object: string): void {
    if (this.#life.state !== "closed") return;
    throw new PoolError({
      code: "POOL_CLOSED",
      operation,
      object,
      reason: "the pool was closed",
      hint: "Open it again.",
    });
  }

  assertWritable(operation: string, object: string): void {
    this.assertNotClosed(operation, object);
    if (this.#life.state !== "degraded") return;
    throw new PoolError({
      code: "POOL_DEGRADED",
      operation,
      object,
      reason: `an earlier operation could not be undone: ${this.#life.reason}`,
      hint: "Close the pool and open it again: opening settles what was left half done.",
    });
  }
}

/**
 * What the verbs of an open pool share: its parts, its transaction id, its life, and the one way into
 * every change. Each verb is a function of its own in verbs/ that takes this.
 */
import { dmNodePath, SECTOR_SIZE_BYTES, type TransactionId } from "@thinpool/dm-native";
import type { Backing } from "./backing.ts";
import type { Device } from "./device.ts";
import type { DeviceStates } from "./device-state.ts";
import { deviceDmName } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { poolErrorFrom } from "./errors-from-native.ts";
import { EventLog } from "./events/event-log.ts";
import type { Kernel } from "./kernel.ts";
import { type DeviceName, deviceName } from "./names.ts";
import type { PoolDevice } from "./pool-device.ts";
import { SerialQueue } from "./queue.ts";
import type { MonitorOptions } from "./space/monitor.ts";
import type { SpacePolicy } from "./space/policy.ts";
import { Space } from "./space/space.ts";
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
  readonly policy: SpacePolicy;
  /** The monitor of its space; false for none. */
  readonly monitor: MonitorOptions | false;
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
  /** The pool's own record as the ledger has it. */
  poolRecord: PoolRecord;
  backing: Backing;
  policy: SpacePolicy;
  readonly events: EventLog;
  readonly space: Space;
  #transactionId: TransactionId;
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
    this.policy = parts.policy;
    this.#transactionId = parts.transactionId;
    this.#lock = parts.lock;
    this.events = new EventLog({
      table: parts.ledger.events,
      current: () => this.#transactionId,
      failed: (error) => void this.failure(error, "recording of events", this.folder),
    });
    this.space = new Space(this, {
      failsWhenFull: parts.policy.onNoSpace === "error_if_no_space",
      monitor: parts.monitor,
    });
    parts.states.onActivity = (deviceUuid, active) =>
      this.events.note({ type: active ? "device-activated" : "device-deactivated", deviceUuid });
  }

  get uuid(): string {
    return this.poolRecord.uuid;
  }

  get blockBytes(): bigint {
    return this.poolRecord.blockSectors * SECTOR_SIZE_BYTES;
  }

  /** The kernel's pool is at it; no record above it counts (INV-1). */
  get transactionId(): TransactionId {
    return this.#transactionId;
  }

  set transactionId(id: TransactionId) {
    this.#transactionId = id;
    this.events.settled();
  }

  /** After a commit that changed it. */
  reloadPoolRecord(): void {
    this.poolRecord = this.ledger.pool() ?? this.poolRecord;
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
    this.events.close();
    try {
      this.ledger.events.flush();
    } finally {
      this.ledger.close();
      this.#lock[Symbol.dispose]();
    }
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

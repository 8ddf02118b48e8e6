/**
 * An open pool: the verbs. Each that changes something is one transaction over the ledger and the
 * kernel's pool (INV-1 to INV-3): intent recorded, kernel's messages, set_transaction_id.
 */
import { randomUUID } from "node:crypto";
import {
  dmNodePath,
  METADATA_BLOCK_SIZE_BYTES,
  SECTOR_SIZE_BYTES,
  type ThinId,
  type TransactionId,
  transactionId,
} from "@thinpool/dm-native";
import { type Backing, releaseBacking } from "./backing.ts";
import type { Device, PoolStatus } from "./device.ts";
import type { DeviceStates } from "./device-state.ts";
import { deviceDmName } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { isNative, poolErrorFrom } from "./errors-from-native.ts";
import type { FilesystemType, Kernel } from "./kernel.ts";
import { type DeviceName, deviceName } from "./names.ts";
import { checkDeviceOptions, checkOwner } from "./options.ts";
import { DEFAULT_DEVICE_BYTES, type ThinPool } from "./pool.ts";
import type { PoolDevice } from "./pool-device.ts";
import { SerialQueue } from "./queue.ts";
import {
  type DeviceRecord,
  type Ledger,
  LedgerCommitError,
  type NewDevice,
  type PoolRecord,
} from "./store/ledger.ts";
import { poolStateOf } from "./tables.ts";
import type { ThinDevices } from "./thin-devices.ts";
import { transition } from "./transition.ts";
import { degradedError, UndoError, withUndo } from "./undo.ts";

/** How many ids that somebody else took in our pool one creation passes over. */
export const MAX_FOREIGN_IDS_PER_CREATION = 16;

export interface PoolParts {
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

type Life =
  | { readonly state: "open" }
  /** A roll-back failed: reading and closing are possible, changes are not (INV-7). */
  | { readonly state: "degraded"; readonly reason: string }
  | { readonly state: "closed" };

export class Pool implements ThinPool {
  readonly uuid: string;
  readonly folder: string;
  readonly #parts: PoolParts;
  readonly #queue = new SerialQueue();
  #life: Life = { state: "open" };
  #transactionId: TransactionId;

  constructor(parts: PoolParts) {
    this.#parts = parts;
    this.uuid = parts.record.uuid;
    this.folder = parts.folder;
    this.#transactionId = parts.transactionId;
  }

  /** Durable commits of the ledger since the pool was opened: each is one fsync. */
  get commits(): number {
    return this.#parts.ledger.commits;
  }

  createDevice(options: {
    readonly name: string;
    readonly sizeBytes?: bigint;
    readonly filesystem?: FilesystemType | "none";
    readonly ownerUid?: number;
  }): Promise<{ readonly outcome: "created"; readonly device: Device }> {
    return this.#change("creation", options.name, async (name) => {
      const { pool } = this.#parts;
      const sizeBytes = options.sizeBytes ?? DEFAULT_DEVICE_BYTES;
      const filesystem = options.filesystem ?? "ext4";
      const ownerUid = options.ownerUid ?? 0;
      checkDeviceOptions(sizeBytes, filesystem, ownerUid);
      const device = this.#newDevice({
        name,
        sizeBytes,
        filesystem,
        ownerUid,
        originUuid: undefined,
      });
      const record = await this.#create({
        device,
        verb: "create",
        make: (id) => pool.createThin(id),
        fill: filesystem === "none" ? undefined : (made) => this.#makeFilesystem(made, filesystem),
      });
      return { outcome: "created" as const, device: this.#view(record) };
    });
  }

  snapshot(options: {
    readonly origin: string;
    readonly name: string;
    readonly ownerUid?: number;
    readonly activate?: boolean;
  }): Promise<{ readonly outcome: "created"; readonly device: Device }> {
    return this.#change("snapshot", options.name, async (name) => {
      const { pool, thins } = this.#parts;
      const origin = this.#record("snapshot", deviceName(options.origin));
      const ownerUid = options.ownerUid ?? origin.ownerUid;
      checkOwner(ownerUid);
      const { sizeBytes, filesystem, uuid: originUuid } = origin;
      const record = await this.#create({
        device: this.#newDevice({ name, sizeBytes, filesystem, ownerUid, originUuid }),
        verb: options.activate === true ? "createActive" : "create",
        make: (id) => this.#whileSuspended(origin, () => pool.createSnapshot(id, origin.thinId)),
        // Before the transaction counts: should it fail, all is undone without a second commit.
        fill: options.activate === true ? (made) => thins.activate(made) : undefined,
      });
      return { outcome: "created" as const, device: this.#view(record) };
    });
  }

  activate(options: {
    readonly name: string;
  }): Promise<{ readonly outcome: "activated" | "already-active"; readonly device: Device }> {
    return this.#change("activation", options.name, async (name) => {
      const { states, thins } = this.#parts;
      const record = this.#record("activation", name);
      if (states.isActive(record.uuid)) {
        if (await thins.isLive(record.uuid)) {
          return { outcome: "already-active" as const, device: this.#view(record) };
        }
        // Somebody removed its dm device: it is inactive, whatever we thought.
        states.set(record.uuid, "inactive");
      }
      await transition(states, record, "activate", () => thins.activate(record));
      return { outcome: "activated" as const, device: this.#view(record) };
    });
  }

  deactivate(options: {
    readonly name: string;
  }): Promise<{ readonly outcome: "deactivated" | "already-inactive"; readonly device: Device }> {
    return this.#change("deactivation", options.name, async (name) => {
      const { states, thins } = this.#parts;
      const record = this.#record("deactivation", name);
      if (!states.isActive(record.uuid)) {
        return { outcome: "already-inactive" as const, device: this.#view(record) };
      }
      await transition(states, record, "deactivate", () => thins.deactivate(record.uuid));
      return { outcome: "deactivated" as const, device: this.#view(record) };
    });
  }

  remove(options: { readonly name: string }): Promise<{ readonly outcome: "removed" }> {
    return this.#change("removal", options.name, async (name) => {
      const { states, thins } = this.#parts;
      const record = this.#record("removal", name);
      await withUndo(async (undo) => {
        if (states.isActive(record.uuid)) {
          // First of all: where it is in use nothing has been recorded or changed.
          await transition(states, record, "deactivate", () => thins.deactivate(record.uuid));
          undo.push("activating it again", () =>
            transition(states, record, "activate", () => thins.activate(record)),
          );
        }
        await this.#delete(record);
      });
      return { outcome: "removed" as const };
    });
  }

  has(options: { readonly name: string }): boolean {
    this.#assertNotClosed("has", options.name);
    return this.#parts.ledger.byName(options.name, this.#transactionId) !== undefined;
  }

  get(options: { readonly name: string }): Device {
    this.#assertNotClosed("get", options.name);
    return this.#view(this.#record("get", options.name));
  }

  list(): readonly Device[] {
    this.#assertNotClosed("list", this.folder);
    return this.#parts.ledger.devices(this.#transactionId).map((record) => this.#view(record));
  }

  async status(): Promise<PoolStatus> {
    this.#assertNotClosed("status", this.folder);
    const { ledger, record, states, pool } = this.#parts;
    try {
      const blockSizeBytes = record.blockSectors * SECTOR_SIZE_BYTES;
      const kernel = await pool.status();
      const space = kernel.state === "working" ? kernel : undefined;
      return {
        uuid: this.uuid,
        folder: this.folder,
        state: poolStateOf(kernel),
        transactionId: this.#transactionId,
        blockSizeBytes,
        dataUsedBytes: (space?.usedData ?? 0n) * blockSizeBytes,
        dataTotalBytes: space === undefined ? record.dataBytes : space.totalData * blockSizeBytes,
        metadataUsedBytes: (space?.usedMetadata ?? 0n) * METADATA_BLOCK_SIZE_BYTES,
        metadataTotalBytes:
          space === undefined
            ? record.metadataBytes
            : space.totalMetadata * METADATA_BLOCK_SIZE_BYTES,
        lowWaterBytes: record.lowWaterBlocks * blockSizeBytes,
        deviceCount: ledger.deviceCount(this.#transactionId),
        activeCount: states.active().length,
        backing: record.backing === "files" ? "loop" : "block",
      };
    } catch (error) {
      throw poolErrorFrom(error, { operation: "status", object: this.folder });
    }
  }

  close(): Promise<void> {
    return this.#queue.run("close", async () => {
      if (this.#life.state === "closed") return;
      try {
        await this.#tearDown();
      } catch (error) {
        throw poolErrorFrom(error, { operation: "close", object: this.folder });
      }
      this.#release();
    });
  }

  detach(): Promise<void> {
    return this.#queue.run("detach", async () => {
      if (this.#life.state !== "closed") this.#release();
      return Promise.resolve();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The one way into every change: checks, the queue, and what an error means for the pool. */
  #change<T>(
    operation: string,
    object: string,
    body: (name: DeviceName) => Promise<T>,
  ): Promise<T> {
    return this.#queue.run(operation, async () => {
      try {
        this.#assertWritable(operation, object);
        return await body(deviceName(object));
      } catch (error) {
        if (error instanceof UndoError || error instanceof LedgerCommitError) {
          const degraded = degradedError(operation, object, error);
          this.#life = { state: "degraded", reason: degraded.reason };
          throw degraded;
        }
        throw poolErrorFrom(error, { operation, object });
      }
    });
  }

  #newDevice(device: Omit<NewDevice, "uuid" | "createdAtMs">): NewDevice {
    return { ...device, uuid: randomUUID(), createdAtMs: Date.now() };
  }

  /**
   * One transaction that makes a device: the intent's commit, `make`'s message, `fill`, and
   * set_transaction_id, from which on the record counts. Any failure undoes what was done.
   */
  #create(options: {
    readonly device: NewDevice;
    readonly verb: "create" | "createActive";
    readonly make: (id: ThinId) => Promise<void>;
    readonly fill: ((record: DeviceRecord) => Promise<void>) | undefined;
  }): Promise<DeviceRecord> {
    const { ledger, pool, thins, states } = this.#parts;
    const { device, verb, make, fill } = options;
    const current = this.#transactionId;
    const next = transactionId(current + 1n);
    states.set(device.uuid, "absent");
    return transition(states, device, verb, () =>
      withUndo(async (undo) => {
        const intent = ledger.beginCreate(device, next);
        undo.push("dropping the record", () => ledger.undoCreate(intent));
        const record = await this.#makeThin(intent, make);
        undo.push("deleting the thin device", () => pool.deleteThin(record.thinId));
        if (fill !== undefined) {
          await fill(record);
          undo.push("deactivating it", () => thins.deactivate(record.uuid));
        }
        await pool.setTransactionId(current, next);
        this.#transactionId = next;
        return record;
      }),
    );
  }

  /** EEXIST: the id is taken by a thin device that no record of ours explains; the next free one. */
  async #makeThin(
    intent: DeviceRecord,
    make: (id: ThinId) => Promise<void>,
  ): Promise<DeviceRecord> {
    let record = intent;
    for (let passed = 0; ; passed += 1) {
      try {
        await make(record.thinId);
        return record;
      } catch (error) {
        if (!isNative(error, "NATIVE_EXISTS") || passed >= MAX_FOREIGN_IDS_PER_CREATION)
          throw error;
        record = this.#parts.ledger.passOverThinId(record, Date.now());
      }
    }
  }

  /** Activates it for mkfs only: the device counts once its filesystem is whole and flushed. */
  async #makeFilesystem(record: DeviceRecord, type: FilesystemType): Promise<void> {
    const { kernel, thins } = this.#parts;
    await withUndo(async (undo) => {
      await thins.activate(record);
      undo.push("deactivating it", () => thins.deactivate(record.uuid));
      await kernel.filesystems.make({ path: this.#path(record), type });
      await thins.deactivate(record.uuid);
    });
  }

  async #delete(record: DeviceRecord): Promise<void> {
    const { ledger, pool, states } = this.#parts;
    const current = this.#transactionId;
    const next = transactionId(current + 1n);
    await transition(states, record, "remove", () =>
      withUndo(async (undo) => {
        ledger.beginDelete(record, next);
        undo.push("taking the deletion back", () => ledger.undoDelete(record, next));
        await pool.deleteThin(record.thinId);
        try {
          await pool.setTransactionId(current, next);
        } catch (error) {
          // The thin device is gone: there is no way back, and opening goes forward.
          throw new UndoError(error, [new Error("a deleted thin device can't be brought back")]);
        }
        this.#transactionId = next;
      }),
    );
  }

  /** Runs `body` while an active origin is suspended, so that the snapshot is consistent. */
  async #whileSuspended(origin: DeviceRecord, body: () => Promise<void>): Promise<void> {
    const { states, thins } = this.#parts;
    if (!states.isActive(origin.uuid)) return body();
    const outcome = await transition(states, origin, "suspend", () => thins.suspend(origin.uuid));
    if (outcome === "gone") {
      // Somebody removed its dm device: it is inactive, whatever we thought.
      states.set(origin.uuid, "inactive");
      return body();
    }
    try {
      await body();
    } finally {
      // Whatever happened: a suspended origin hangs everybody who uses it. A failure of this is an
      // UndoError and outranks body's.
      await transition(states, origin, "resume", () => thins.resume(origin.uuid));
    }
    return undefined;
  }

  /** Thins, pool, loops. Each step takes "gone already" for done, so close can be called again. */
  async #tearDown(): Promise<void> {
    const { kernel, ledger, pool, thins, states, backing } = this.#parts;
    const live = await thins.live();
    const used = live.find(({ info }) => info.openCount > 0);
    if (used !== undefined) {
      throw new PoolError({
        code: "DEVICE_BUSY",
        operation: "close",
        object: ledger.byUuid(used.deviceUuid, this.#transactionId)?.name ?? used.info.name,
        reason: `it is open or mounted (${used.info.openCount} times)`,
        hint: `Unmount it first; findmnt and fuser -vm ${dmNodePath(used.info.name)} show who has it.`,
      });
    }
    await withUndo(async (undo) => {
      for (const { deviceUuid } of live) {
        await thins.deactivate(deviceUuid);
        states.set(deviceUuid, "inactive");
        const record = ledger.byUuid(deviceUuid, this.#transactionId);
        if (record === undefined) continue;
        undo.push(`activating ${record.name} again`, () =>
          transition(states, record, "activate", () => thins.activate(record)),
        );
      }
      await pool.remove();
    });
    await releaseBacking(kernel, backing);
  }

  #release(): void {
    this.#life = { state: "closed" };
    this.#parts.ledger.close();
    this.#parts.lock[Symbol.dispose]();
  }

  #record(operation: string, name: string): DeviceRecord {
    const record = this.#parts.ledger.byName(name, this.#transactionId);
    if (record !== undefined) return record;
    throw new PoolError({
      code: "DEVICE_NOT_FOUND",
      operation,
      object: JSON.stringify(name),
      reason: "the pool has no such device",
      hint: "List the devices to see what there is.",
    });
  }

  #view(record: DeviceRecord): Device {
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
      active: this.#parts.states.isActive(uuid),
      path: this.#path(record),
    };
  }

  #path(record: DeviceRecord): string {
    return dmNodePath(deviceDmName(this.uuid, record.name));
  }

  #assertNotClosed(operation: string, object: string): void {
    if (this.#life.state !== "closed") return;
    throw new PoolError({
      code: "POOL_CLOSED",
      operation,
      object,
      reason: "the pool was closed",
      hint: "Open it again.",
    });
  }

  #assertWritable(operation: string, object: string): void {
    this.#assertNotClosed(operation, object);
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

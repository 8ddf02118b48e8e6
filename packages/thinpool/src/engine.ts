/**
 * What the verbs of an open pool share: its parts, its transaction id, its life, and the one way into
 * every change. Each verb is a function of its own in verbs/ that takes this.
 */
import {
  dmNodePath,
  NativeError,
  SECTOR_SIZE_BYTES,
  type TransactionId,
} from "@thinpool/dm-native";
import type { Backing } from "./backing.ts";
import type { Device } from "./device.ts";
import type { DeviceStates } from "./device-state.ts";
import { deviceDmName, poolDmName } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { EventLog } from "./events/event-log.ts";
import { isNative, poolErrorFrom } from "./errors-from-native.ts";
import { MetadataSnapshot } from "./health/metadata-snapshot.ts";
import { refusalOf } from "./health/sick-pool.ts";
import type { Kernel } from "./kernel.ts";
import { type DeviceName, deviceName } from "./names.ts";
import type { PoolDevice } from "./pool-device.ts";
import { Limiter } from "./limiter.ts";
import { Renames } from "./renames.ts";
import { KeyedLocks } from "./locks.ts";
import { Emptyings } from "./space/emptyings.ts";
import type { MonitorOptions } from "./space/monitor.ts";
import type { SpacePolicy } from "./space/policy.ts";
import { Space } from "./space/space.ts";
import type { DeviceRecord, Ledger, PoolRecord } from "./store/ledger.ts";
import type { ThinDevices } from "./thin-devices.ts";
import { ThinMaker } from "./thin-maker.ts";
import { type Committed, type Member, Transactions } from "./transactions.ts";
import { degradedError, isDoubt } from "./undo.ts";

/** How many mkfs and the like run at a time: each reads and writes as much as the disk gives. */
const MAX_PARALLEL_TOOLS = 4;
/** Held by every operation, shared; alone by what must find nothing under way. */
const LIFE = "life";
/** Shared by whoever sends something to the kernel's pool; alone by who changes its table. */
const POOL = "pool";

export interface DeviceOperation {
  /** As a noun, for errors: "snapshot". */
  readonly operation: string;
  /** What it is about, for errors. */
  readonly object: string;
  /** Names of devices that must stay as they are meanwhile. */
  readonly reads?: readonly string[];
  /** Names of devices that it makes, changes or removes. */
  readonly changes: readonly string[];
  /** Ends the waiting for others. */
  readonly signal?: AbortSignal | undefined;
}

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
  readonly metadataSnapshot: MetadataSnapshot;
  /** The pool's own record as the ledger has it. */
  poolRecord: PoolRecord;
  backing: Backing;
  policy: SpacePolicy;
  readonly events: EventLog;
  readonly space: Space;
  readonly emptyings: Emptyings = new Emptyings(this);
  /** mkfs and the like. */
  readonly tools: Limiter = new Limiter(MAX_PARALLEL_TOOLS);
  readonly renames: Renames = new Renames();
  readonly #lock: Disposable;
  readonly #operations = new KeyedLocks();
  /** Its users are steps of what is counted in `#operations`: a step back must not be refused. */
  readonly #poolUse = new KeyedLocks(Number.POSITIVE_INFINITY);
  readonly #transactions = new Transactions(this);
  #transactionId: TransactionId;
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
    this.metadataSnapshot = new MetadataSnapshot(this);
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

  /** Changes that run or wait for their turn. */
  get operations(): number {
    return this.#operations.length;
  }

  /** After a commit that changed it. */
  reloadPoolRecord(): void {
    this.poolRecord = this.ledger.pool() ?? this.poolRecord;
  }

  get life(): Life {
    return this.#life;
  }

  /**
   * The one way into every change of devices: waits for those of the same devices, checks the pool's
   * life, and says what an error means for the pool. Operations on other devices run meanwhile.
   */
  changeDevices<T>(request: DeviceOperation, body: () => Promise<T>): Promise<T> {
    const { operation, object, signal } = request;
    const keys = {
      shared: [LIFE, ...(request.reads ?? []).map(deviceKey)],
      exclusive: request.changes.map(deviceKey),
    };
    return this.#guarded(operation, object, () =>
      this.#operations.run(operation, keys, () => this.#writable(operation, object, body), signal),
    );
  }

  /** Of one device, with its name checked. */
  changeDevice<T>(
    operation: string,
    object: string,
    body: (name: DeviceName) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.changeDevices({ operation, object, changes: [object], signal }, () =>
      body(deviceName(object)),
    );
  }

  /**
   * A change of the pool itself (its table, its metadata): nothing is sent to the kernel's pool
   * meanwhile but by `body`, which must not begin a transaction. A running mkfs is not waited for: it
   * may itself wait for the space that the change brings.
   */
  change<T>(operation: string, object: string, body: () => Promise<T>): Promise<T> {
    const alone = { exclusive: [POOL] };
    return this.#guarded(operation, object, () =>
      this.#operations.run(operation, { shared: [LIFE] }, () =>
        this.#poolUse.run(operation, alone, () => this.#writable(operation, object, body)),
      ),
    );
  }

  /**
   * Runs when all that was asked for before it is over, and alone, in whatever state the pool then is. However
   * many wait: who closes must not be turned away.
   */
  exclusive<T>(body: () => Promise<T>): Promise<T> {
    return this.#operations.runAlways({ exclusive: [LIFE] }, body);
  }

  /** For steps of an operation that need the kernel's pool to be as it is: activation, messages. */
  withPool<T>(body: () => Promise<T>): Promise<T> {
    return this.#poolUse.run("use of the pool", { shared: [POOL] }, body);
  }

  /** Nothing is sent to the kernel's pool meanwhile but by `body`: its table is swapped. */
  alonePool<T>(body: () => Promise<T>): Promise<T> {
    return this.#poolUse.run("change of the pool's table", { exclusive: [POOL] }, body);
  }

  /** Part of a transaction, with others that are asked for at the same time. */
  commit(member: Member): Promise<Committed> {
    return this.#transactions.commit(member);
  }

  thinMaker(): ThinMaker {
    return new ThinMaker(this);
  }

  async #guarded<T>(operation: string, object: string, body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      const reason = isNative(error, "NATIVE_REFUSED") ? await this.#whyRefused(error) : error;
      throw this.failure(reason, operation, object);
    }
  }

  /** A pool that is not writable takes no message at all: which of three reasons, its status says. */
  async #whyRefused(error: unknown): Promise<unknown> {
    try {
      return refusalOf(await this.pool.status(), poolDmName(this.uuid), error);
    } catch (statusError) {
      // The status line failed as well: the refusal stands as the kernel gave it.
      if (!(statusError instanceof NativeError)) throw statusError;
      return error;
    }
  }

  async #writable<T>(operation: string, object: string, body: () => Promise<T>): Promise<T> {
    this.assertWritable(operation, object);
    return body();
  }

  /** What a failed change throws; one that could not be undone makes the pool degraded (INV-7). */
  failure(error: unknown, operation: string, object: string): PoolError {
    if (isDoubt(error)) {
      const degraded = degradedError(operation, object, error);
      this.#life = { state: "degraded", reason: degraded.reason };
      return degraded;
    }
    return poolErrorFrom(error, { operation, object });
  }

  /**
   * DEVICE_NOT_FOUND where no record of this name counts; with `uuid` also where the name has become another
   * device's.
   */
  device(operation: string, name: string, uuid?: string): DeviceRecord {
    const record = this.ledger.byName(name, this.transactionId);
    if (record !== undefined && (uuid ?? record.uuid) === record.uuid) return record;
    throw new PoolError({
      code: "DEVICE_NOT_FOUND",
      operation,
      object: JSON.stringify(name),
      reason: "the pool has no such device",
      hint: "List the devices to see what there is.",
    });
  }

  view(record: DeviceRecord): Device {
    const { deletingTransactionId: _deleting, filling: _filling, growing, ...shown } = record;
    return {
      ...shown,
      filesystemSmaller: growing,
      active: this.states.isActive(record.uuid),
      path: this.path(record),
    };
  }

  path(record: { readonly name: DeviceName }): string {
    return dmNodePath(deviceDmName(this.uuid, record.name));
  }

  /**
   * Gives the folder back, whatever happens. What is up in the kernel stays. A PoolError says that the
   * last events could not be written: their readers are told to look anew.
   */
  release(operation: string): void {
    const doubtful = this.#life.state === "degraded";
    this.#life = { state: "closed" };
    this.events.close();
    try {
      // A ledger in doubt is not written to: opening tells its readers to look anew.
      if (!doubtful) this.ledger.events.flush();
    } catch (error) {
      throw poolErrorFrom(error, { operation, object: this.folder });
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

function deviceKey(name: string): string {
  return `device ${name}`;
}

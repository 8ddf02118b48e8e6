/** The pool's own dm device: a thin-pool target. Every call goes by dm uuid (INV-4). */
import {
  type DevNumber,
  type DmDeviceInfo,
  type DmRun,
  type DmStep,
  type DmTarget,
  NativeError,
  type OpenFile,
  removeDeviceRetrying,
  retryBusy,
  sameTable,
  type ThinId,
  thinPoolMessage,
  type ThinPoolStatus,
  type TransactionId,
} from "@thinpool/dm-native";
import { poolDmName, poolDmUuid } from "./dm-names.ts";
import { PoolError } from "./errors.ts";
import { isNative } from "./errors-from-native.ts";
import { refusalOf } from "./health/sick-pool.ts";
import type { Kernel } from "./kernel.ts";
import { makeLive } from "./make-live.ts";
import { DELETE_RETRY, REMOVE_RETRY } from "./remove-retry.ts";
import type { PoolRecord } from "./store/ledger.ts";
import { describeTable, poolStatusOf } from "./tables.ts";
import { MAX_RESUME_ATTEMPTS } from "./thin-devices.ts";
import { outcomeOf, type Undo, UndoError } from "./undo.ts";

export type PoolTable = readonly DmTarget[];

export class PoolDevice {
  readonly dev: DevNumber;
  /** It was live already and was taken over. */
  readonly adopted: boolean;
  readonly #kernel: Kernel;
  readonly #poolUuid: string;

  private constructor(kernel: Kernel, poolUuid: string, dev: DevNumber, adopted: boolean) {
    this.#kernel = kernel;
    this.#poolUuid = poolUuid;
    this.dev = dev;
    this.adopted = adopted;
  }

  /**
   * True where the kernel has the pool live: its metadata is in use and can't be checked. A device that a
   * crash left without a live table is removed: a table that was loaded only holds the metadata, too. So is
   * what a look (`looks`: its tables) left when it was killed: nobody uses it, and nobody has checked it.
   */
  static async removeUnlessLive(
    kernel: Kernel,
    poolUuid: string,
    looks: readonly PoolTable[],
  ): Promise<boolean> {
    const found = await findDevice(kernel, poolUuid);
    if (found === undefined) return false;
    const uuid = poolDmUuid(poolUuid);
    if (found.hasLiveTable) {
      if (found.openCount > 0) return true;
      const { targets } = await kernel.dm.table({ uuid });
      if (!looks.some((table) => sameTable(targets, table))) return true;
    }
    await removeDeviceRetrying(kernel.dm, { uuid }, REMOVE_RETRY);
    return false;
  }

  /**
   * Takes over the pool's live device if its table is the first of `tables`, which are those that it
   * may have; one that has another of them gets the first. Makes it where there is none (after `isLive`
   * has cleared the way). One left suspended is resumed. With `reload` a live one gets its table anew:
   * only then the kernel looks at the size of its metadata device.
   */
  static async open(
    kernel: Kernel,
    record: PoolRecord,
    tables: readonly [wanted: PoolTable, ...others: readonly PoolTable[]],
    undo: Undo,
    options: {
      /** A live one gets its table anew. */
      readonly reload?: boolean;
      /**
       * For a look only: what is live stays as it is, and what is not is brought up with the first of
       * these, read-only ones, that the kernel takes.
       */
      readonly look?: readonly PoolTable[];
    } = {},
  ): Promise<PoolDevice> {
    const [table] = tables;
    const { look } = options;
    const live = await findDevice(kernel, record.uuid);
    if (live?.hasLiveTable === true) {
      const pool = new PoolDevice(kernel, record.uuid, live.dev, true);
      const hasWanted = await checkLiveTable(kernel, record, tables);
      if (look !== undefined) return pool;
      const reload = !hasWanted || live.hasInactiveTable || options.reload === true;
      if (reload) await pool.swapTable(table);
      else if (live.suspended) await kernel.dm.resume({ uuid: poolDmUuid(record.uuid) });
      return pool;
    }
    if (live !== undefined) {
      await removeDeviceRetrying(kernel.dm, { uuid: poolDmUuid(record.uuid) }, REMOVE_RETRY);
    }
    const made = await makeFirst(kernel, record, look ?? [table]);
    const pool = new PoolDevice(kernel, record.uuid, made, false);
    undo.push("removing the pool's dm device", () => pool.remove());
    return pool;
  }

  /** Never flushes: a status that commits would hang on a sick pool. */
  async status(): Promise<ThinPoolStatus> {
    const reply = await this.#kernel.dm.tableStatus(this.#ref, { noFlush: true });
    return poolStatusOf(reply, this.#poolUuid);
  }

  /**
   * Messages one after another, up to the first that is refused: how many were accepted, and why not
   * the next. For those that follow each other whatever happens. `then`: what is to follow all of them in
   * the same run; whether it does well is in `followed`, which waits for udev as well. `syncFirst`: a file
   * that is on its disk before the first of them is sent. NativeError: none was sent; UndoError: nobody knows
   * which.
   */
  async messages(
    texts: readonly string[],
    then: readonly DmStep[] = [],
    syncFirst?: OpenFile,
  ): Promise<{
    readonly accepted: number;
    readonly failure: NativeError | undefined;
    /** The failure is of the file's sync. */
    readonly unsynced?: true;
    /** Undefined where it was not reached. */
    readonly followed: Promise<DmRun> | undefined;
  }> {
    const device = this.#ref;
    const messages = texts.map((text) => ({ command: "message", device, text }) as const);
    const { promise, resolve, reject } = Promise.withResolvers<DmRun>();
    const whole = this.#kernel.dm.run([...messages, ...then], {
      onIssued: resolve,
      ...(syncFirst === undefined ? {} : { syncFirst }),
    });
    whole.then(resolve, (error: unknown) => reject(outcomeOf(error)));
    const issued = await promise;
    if (issued.unsynced === true) {
      return { accepted: 0, failure: issued.failure, unsynced: true, followed: undefined };
    }
    const accepted = Math.min(issued.infos.length, texts.length);
    if (accepted < texts.length) return { accepted, failure: issued.failure, followed: undefined };
    if (then.length === 0) return { accepted, failure: undefined, followed: undefined };
    const followed = whole.then(({ infos, failure }) => ({
      infos: infos.slice(accepted),
      failure,
    }));
    // Who waits for it may come later than it fails.
    followed.catch(() => undefined);
    return { accepted, failure: undefined, followed };
  }

  createThin(id: ThinId): Promise<void> {
    return this.#message(thinPoolMessage.createThin(id));
  }

  /** An active origin must be suspended by the caller: the kernel does not check. */
  createSnapshot(id: ThinId, origin: ThinId): Promise<void> {
    return this.#message(thinPoolMessage.createSnap(id, origin));
  }

  /** Deletes the thin device; one that is not there is fine, so that it can be done again. */
  async deleteThin(id: ThinId): Promise<void> {
    try {
      await retryBusy(() => this.#message(thinPoolMessage.delete(id)), DELETE_RETRY);
    } catch (error) {
      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
    }
  }

  /** Compare and swap: refused where the pool is not at `from`. */
  setTransactionId(from: TransactionId, to: TransactionId): Promise<void> {
    return this.#message(thinPoolMessage.setTransactionId(from, to));
  }

  /**
   * Loads the table and swaps it in. I/O waits meanwhile and goes on afterwards, also what a full pool
   * holds back: the kernel suspends the thin devices without flushing them. A table that the kernel
   * refuses changes nothing; a pool that can't be resumed is an UndoError (INV-10).
   */
  async swapTable(table: PoolTable): Promise<void> {
    const { dm } = this.#kernel;
    await dm.loadTable(this.#ref, table);
    try {
      await dm.suspend(this.#ref, { skipLockFs: true });
    } catch (error) {
      // It may be suspended all the same.
      if (error instanceof NativeError) await dm.clearTable(this.#ref);
      else await this.#resume();
      throw error;
    }
    await this.#resume();
  }

  async #resume(): Promise<void> {
    let last: unknown;
    for (let attempt = 1; attempt <= MAX_RESUME_ATTEMPTS; attempt += 1) {
      try {
        await this.#kernel.dm.resume(this.#ref);
        return;
      } catch (error) {
        last = error;
      }
    }
    const reason = last instanceof Error ? last.message : String(last);
    throw new UndoError(last, [new Error(`resuming the pool: ${reason}`, { cause: last })]);
  }

  /** Commits the pool and keeps that state readable for the tools. NATIVE_BUSY: one is held already. */
  reserveMetadataSnapshot(): Promise<void> {
    return this.#message(thinPoolMessage.reserveMetadataSnap());
  }

  /** Gives it back; none being held is fine. */
  async releaseMetadataSnapshot(): Promise<void> {
    try {
      await this.#message(thinPoolMessage.releaseMetadataSnap());
    } catch (error) {
      if (!isNative(error, "NATIVE_INVALID")) throw error;
    }
  }

  /** Removes the dm device; DEVICE_BUSY by the caller's mapping where a thin device still uses it. */
  async remove(): Promise<void> {
    try {
      await removeDeviceRetrying(this.#kernel.dm, this.#ref, REMOVE_RETRY);
    } catch (error) {
      // Removed already, by an earlier attempt to close.
      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
    }
  }

  get #ref() {
    return { uuid: poolDmUuid(this.#poolUuid) };
  }

  async #message(text: string): Promise<void> {
    try {
      await this.#kernel.dm.message(this.#ref, text);
    } catch (error) {
      if (!isNative(error, "NATIVE_REFUSED")) throw outcomeOf(error);
      throw refusalOf(await this.status(), poolDmName(this.#poolUuid), error);
    }
  }
}

/** With the first of the tables that the kernel takes: a pool is never had smaller than it is. */
async function makeFirst(
  kernel: Kernel,
  record: PoolRecord,
  tables: readonly PoolTable[],
): Promise<DevNumber> {
  let last: unknown;
  for (const table of tables) {
    try {
      const name = poolDmName(record.uuid);
      const uuid = poolDmUuid(record.uuid);
      return (await makeLive(kernel.dm, { name, uuid, table })).info.dev;
    } catch (error) {
      if (!isNative(error, "NATIVE_INVALID")) throw error;
      last = error;
    }
  }
  throw last;
}

async function findDevice(kernel: Kernel, poolUuid: string): Promise<DmDeviceInfo | undefined> {
  try {
    return await kernel.dm.deviceStatus({ uuid: poolDmUuid(poolUuid) });
  } catch (error) {
    if (isNative(error, "NATIVE_NOT_FOUND")) return undefined;
    throw error;
  }
}

/** True where the live table is the first of those it may be. POOL_MISMATCH where it is none. */
async function checkLiveTable(
  kernel: Kernel,
  record: PoolRecord,
  tables: readonly [wanted: PoolTable, ...others: readonly PoolTable[]],
): Promise<boolean> {
  const { targets } = await kernel.dm.table({ uuid: poolDmUuid(record.uuid) });
  if (sameTable(targets, tables[0])) return true;
  if (tables.some((table) => sameTable(targets, table))) return false;
  throw new PoolError({
    code: "POOL_MISMATCH",
    operation: "adoption of the live pool",
    object: poolDmName(record.uuid),
    reason: `its table is ${describeTable(targets)}, the ledger says ${describeTable(tables[0])}`,
    hint: "Somebody changed the pool: unmount its devices, remove them (dmsetup remove), open it again.",
  });
}

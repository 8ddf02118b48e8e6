/**
 * The broker of the pool's one metadata snapshot: through it the tools read a pool that is live. Its
 * users wait in a queue; each has it for a bounded time; the ledger names the holder before the kernel
 * is asked, so that one which a crash left behind is known to be ours and is given back at open.
 */
import { NativeError, type ThinPoolWorkingStatus } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { isNative } from "../errors-from-native.ts";
import type { Kernel } from "../kernel.ts";
import type { PoolDevice } from "../pool-device.ts";
import type { Ledger } from "../store/ledger.ts";
import type { MetadataListing } from "../tools/metadata-tools.ts";
import { toolCall } from "./tool-calls.ts";

/** Blocks that are freed meanwhile stay taken until it is given back: not for longer than this. */
export const MAX_SNAPSHOT_HOLD_MS = 600_000;
/** But for what an administrator asked for and can end, and a sick disk ends (run-tool.ts). */
export const LONG_SNAPSHOT_HOLD_MS: number = 24 * 60 * 60 * 1000;
/** How many may wait for it. */
export const MAX_SNAPSHOT_WAITERS = 32;

/** How long a look may take for which a transaction, or the opening, waits. */
const MAX_LOOK_MS = 10_000;

type BrokerEngine = Pick<
  Engine,
  "backing" | "change" | "failure" | "folder" | "kernel" | "ledger" | "pool"
>;

export interface SnapshotUse {
  /** Who asks, for status and for errors: "usage", "backup". */
  readonly owner: string;
  readonly signal?: AbortSignal | undefined;
  /** Default: MAX_SNAPSHOT_HOLD_MS. */
  readonly maxHoldMs?: number;
}

export interface SnapshotStatus {
  readonly holder: { readonly owner: string; readonly heldForMs: number } | undefined;
  readonly waiting: number;
}

export class MetadataSnapshot {
  readonly #engine: BrokerEngine;
  #tail: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #holder: { readonly owner: string; readonly sinceMs: number } | undefined;
  /** From before the kernel is asked for it until it has been given back. */
  #taken = false;
  /** Ends the present use and all that wait. */
  #closing = new AbortController();

  constructor(engine: BrokerEngine) {
    this.#engine = engine;
  }

  get status(): SnapshotStatus {
    const holder = this.#holder && {
      owner: this.#holder.owner,
      heldForMs: Date.now() - this.#holder.sinceMs,
    };
    return { holder, waiting: this.#waiting };
  }

  /**
   * Runs `body` while the snapshot is held. `atReserve` runs when it has just been taken, with no change
   * of the pool under way: what it reads of the ledger is of the same moment as the snapshot. `body`
   * must end when its signal fires. POOL_SNAPSHOT_BUSY: a stranger holds it, or `body` took too long.
   */
  use<M, T>(
    options: SnapshotUse,
    atReserve: () => M | Promise<M>,
    body: (moment: M, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.#waiting >= MAX_SNAPSHOT_WAITERS) {
      return Promise.reject(
        new PoolError({
          code: "POOL_OVERLOADED",
          operation: options.owner,
          object: "the pool's metadata snapshot",
          reason: `${MAX_SNAPSHOT_WAITERS} are waiting for it already`,
          hint: "Wait for some of them to end, then try again.",
        }),
      );
    }
    this.#waiting += 1;
    const turn = this.#tail.then(async () => {
      this.#waiting -= 1;
      return this.#hold(options, atReserve, body);
    });
    this.#tail = turn.catch(() => undefined);
    return turn;
  }

  /**
   * For a transaction under way, which keeps new users out: the metadata as it is now; undefined where it
   * can't be had, since the snapshot is held or the tool says nothing.
   */
  async look(): Promise<MetadataListing | undefined> {
    if (this.#taken) return undefined;
    const { kernel, ledger, pool, backing } = this.#engine;
    return lookAtMetadata({ kernel, ledger, pool, path: backing.metadata.path });
  }

  /** Ends the present use, refuses those that wait; on return nothing of ours is held. */
  async shutDown(): Promise<void> {
    const reason = new PoolError({
      code: "POOL_CLOSED",
      operation: "use of the metadata snapshot",
      object: this.#engine.folder,
      reason: "the pool is being closed",
      hint: "Open it again.",
    });
    this.#closing.abort(reason);
    await this.#tail;
    // Closing may be refused further on, and the pool goes on.
    this.#closing = new AbortController();
  }

  async #hold<M, T>(
    options: SnapshotUse,
    atReserve: () => M | Promise<M>,
    body: (moment: M, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const closing = this.#closing.signal;
    closing.throwIfAborted();
    options.signal?.throwIfAborted();
    const moment = await this.#reserve(options.owner, atReserve, closing);
    const { maxHoldMs = MAX_SNAPSHOT_HOLD_MS } = options;
    const late = AbortSignal.timeout(maxHoldMs);
    const signals = [closing, late, ...(options.signal === undefined ? [] : [options.signal])];
    try {
      return await body(moment, AbortSignal.any(signals));
    } catch (error) {
      if (late.aborted && error === late.reason) throw heldTooLong(options.owner, maxHoldMs);
      throw error;
    } finally {
      await this.#release(options.owner);
    }
  }

  async #reserve<M>(
    owner: string,
    atReserve: () => M | Promise<M>,
    closing: AbortSignal,
  ): Promise<M> {
    const { ledger, pool, folder } = this.#engine;
    const taken = this.#engine.change(owner, folder, async () => {
      closing.throwIfAborted();
      // One that an earlier use could not give back, since the pool was sick then.
      if (ledger.health.snapshotHolder !== undefined) await pool.releaseMetadataSnapshot();
      const sinceMs = Date.now();
      ledger.health.setSnapshotHolder({ owner, sinceMs });
      await this.#reserveOrSayWhose(owner);
      this.#taken = true;
      this.#holder = { owner, sinceMs };
      try {
        return await atReserve();
      } catch (error) {
        await this.#release(owner);
        throw error;
      }
    });
    // Closing keeps changes out and waits for us: so nobody waits there for a turn after it.
    return unlessAborted(taken, closing);
  }

  async #reserveOrSayWhose(owner: string): Promise<void> {
    const { ledger, pool, folder } = this.#engine;
    try {
      await pool.reserveMetadataSnapshot();
    } catch (error) {
      // Nothing is held, so the row goes: by it the next one would be ours, whoever takes it. What the kernel
      // did of a call that has no answer is not known (UndoError): then it stays.
      if (isAnswer(error)) ledger.health.setSnapshotHolder(undefined);
      if (!isNative(error, "NATIVE_BUSY")) throw error;
      throw new PoolError({
        code: "POOL_SNAPSHOT_BUSY",
        operation: owner,
        object: folder,
        reason: "another program holds the pool's metadata snapshot",
        hint: "Wait for it; if none does, dmsetup message POOL 0 release_metadata_snap frees it.",
        cause: error,
      });
    }
  }

  async #release(owner: string): Promise<void> {
    const { ledger, pool, folder } = this.#engine;
    this.#holder = undefined;
    try {
      await pool.releaseMetadataSnapshot();
      ledger.health.setSnapshotHolder(undefined);
    } catch (error) {
      throw this.#engine.failure(error, owner, folder);
    } finally {
      this.#taken = false;
    }
  }
}

/** At open: gives back the snapshot that a killed process of ours held; a stranger's stays. */
export async function releaseLeftSnapshot(
  ledger: Ledger,
  pool: PoolDevice,
  status: ThinPoolWorkingStatus,
): Promise<void> {
  if (ledger.health.snapshotHolder === undefined) return;
  if (status.heldMetadataRoot !== undefined) await pool.releaseMetadataSnapshot();
  ledger.health.setSnapshotHolder(undefined);
}

/**
 * The devices of a live pool's metadata, when nobody else of ours can ask for its snapshot; undefined where
 * it can't be had: a stranger holds the snapshot, the tool is missing or says nothing.
 */
export async function lookAtMetadata(options: {
  readonly kernel: Kernel;
  readonly ledger: Ledger;
  readonly pool: PoolDevice;
  /** Of the metadata's device. */
  readonly path: string;
}): Promise<MetadataListing | undefined> {
  const { kernel, ledger, pool, path } = options;
  ledger.health.setSnapshotHolder({ owner: "thin ids", sinceMs: Date.now() });
  if (!(await answered(() => pool.reserveMetadataSnapshot().then(() => true)))) {
    ledger.health.setSnapshotHolder(undefined);
    return undefined;
  }
  const signal = AbortSignal.timeout(MAX_LOOK_MS);
  const listing = await answered(() =>
    toolCall(() => kernel.metadataTools.read({ path, snapshot: true, signal })),
  );
  const released = await answered(() => pool.releaseMetadataSnapshot().then(() => true));
  // Else its row stays, and the next use or the next opening gives it back.
  if (released === true) ledger.health.setSnapshotHolder(undefined);
  return listing;
}

/** Undefined where the kernel or the tool refused. */
async function answered<T>(call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    const isLate = error instanceof Error && error.name === "TimeoutError";
    if (isAnswer(error) || isLate) return undefined;
    throw error;
  }
}

/** The kernel or the tool has said no. */
function isAnswer(error: unknown): boolean {
  return error instanceof NativeError || error instanceof PoolError;
}

function heldTooLong(owner: string, maxHoldMs: number): PoolError {
  return new PoolError({
    code: "POOL_SNAPSHOT_BUSY",
    operation: owner,
    object: "the pool's metadata snapshot",
    reason: `it was held for ${maxHoldMs} ms, which is as long as it may be`,
    hint: "Try again when the machine has less to do; freed blocks stay taken while it is held.",
  });
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

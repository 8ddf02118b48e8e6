/**
 * Removals that begin: the device is recorded as gone, then activated once more for its discard. Nothing of its
 * content may go before that record lasts (INV-3, INV-12).
 */
import { type DmRun, NativeError } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import type { DeviceRecord } from "../store/ledger.ts";
import { TurnBatch } from "../turn-batch.ts";

export interface Emptying {
  readonly record: DeviceRecord;
  /** Its activation, where that runs already. */
  begun: Promise<DmRun> | undefined;
}

export class Emptyings {
  readonly #engine: Engine;
  readonly #together: TurnBatch<Emptying>;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#together = new TurnBatch(
      // No step of the activation meets a pool whose table is being swapped.
      (emptyings) => engine.withPool(() => this.#begin(emptyings)),
      () => engine.operations,
    );
  }

  /**
   * Resolves once it lasts that the inactive device is removed. Rejects with LedgerCommitError where that is in
   * doubt; with any other error nothing has happened.
   */
  async add(record: DeviceRecord): Promise<Emptying> {
    const emptying: Emptying = { record, begun: undefined };
    await this.#together.add(emptying);
    return emptying;
  }

  /**
   * One commit for all of them. A lone one's is synced on the way of its activation; several are activated each
   * by itself, so that none waits for another's.
   */
  async #begin(emptyings: readonly Emptying[]): Promise<void> {
    const { ledger, pool, thins } = this.#engine;
    const commit = ledger.beginEmptying(emptyings.map(({ record }) => record));
    const [only, ...others] = emptyings;
    const isLone = only !== undefined && others.length === 0;
    const steps = isLone ? thins.activationSteps(only.record, { writable: true }) : undefined;
    if (!isLone || steps === undefined) {
      await commit.sync();
      return;
    }
    const run = await pool.messages([], steps, commit.file).catch((error: unknown) => {
      // A run that ended in the middle leaves it open what it did.
      if (!(error instanceof NativeError)) throw commit.failed(error);
      return undefined;
    });
    if (run === undefined) {
      // None could be made: the activation, by itself, meets the same, and tells it.
      await commit.sync();
      return;
    }
    if (run.unsynced === true) throw commit.failed(run.failure);
    commit.synced();
    only.begun = run.followed;
  }
}

/**
 * Group commit: what is asked for while a transaction runs shares the next one. One durable commit of
 * all intents, the kernel's messages, one set_transaction_id (INV-1 to INV-3; the table of crashes is
 * in docs/INVARIANTS.md).
 */
import {
  type DmRun,
  type DmStep,
  NativeError,
  thinPoolMessage,
  type TransactionId,
  transactionId,
} from "@thinpool/dm-native";
import { PoolError } from "./errors.ts";
import { gather } from "./gather.ts";
import type { PoolDevice } from "./pool-device.ts";
import type { Space } from "./space/space.ts";
import type { UnsyncedCommit } from "./store/database.ts";
import type { DeviceRecord, Intent, Ledger } from "./store/ledger.ts";
import type { Creation, ThinMaker } from "./thin-maker.ts";
import { isDoubt, UndoError } from "./undo.ts";

/**
 * How many devices one group makes and deletes at most, but for a set that one member asks for. What a group
 * records, and whom its end wakes, takes one turn of the event loop each; larger ones save little more.
 */
export const MAX_GROUP_DEVICES = 16;

/** What one operation wants of a transaction: all of it or nothing. */
export interface Member {
  readonly creations: readonly Creation[];
  /** At most one: two could not be taken back together. */
  readonly deletion?: DeviceRecord;
  /**
   * What comes next for the only creation: done in one run with the transaction where the group is this
   * member alone, so that nobody else waits for it. Undefined: nothing that can be.
   */
  readonly next?: (record: DeviceRecord) => readonly DmStep[] | undefined;
  /** A device whose content goes once the operation is through: the creation takes its place. */
  readonly replaces?: DeviceRecord;
}

export interface Committed {
  /** In the order of the creations. */
  readonly records: readonly DeviceRecord[];
  /** How long active origins were held for them; 0 where none was. */
  readonly pauseMs: number;
  /** The outcome of the member's `next`; undefined where it is still to be done. */
  readonly followed?: Promise<DmRun> | undefined;
}

interface Waiting {
  readonly member: Member;
  readonly resolve: (result: Committed) => void;
  readonly reject: (error: unknown) => void;
}

/** A member whose intent is recorded. */
interface Recorded {
  readonly waiting: Waiting;
  /** With the ids that the kernel took. */
  records: readonly DeviceRecord[];
  pauseMs: number;
}

export interface TransactionsHost {
  readonly ledger: Ledger;
  readonly pool: PoolDevice;
  /** The kernel's pool is at it; moved on by each group. */
  transactionId: TransactionId;
  /** Changes on their way, those that wait for a transaction among them. */
  readonly operations: number;
  /** For one group. */
  thinMaker(): ThinMaker;
  /** Keeps whoever needs the pool for itself (a reload of its table) out while `body` runs. */
  withPool<T>(body: () => Promise<T>): Promise<T>;
  readonly space: Pick<Space, "policy" | "refusePromise">;
  /** POOL_DEGRADED, POOL_CLOSED. */
  assertWritable(operation: string, object: string): void;
  /** A failure that leaves doubt makes the pool degraded at once. */
  failure(error: unknown, operation: string, object: string): PoolError;
}

/** What a run of messages came to, handed out in the order in which they were sent. */
class MessageRun {
  /** Of what came after all of them. */
  readonly followed: Promise<DmRun> | undefined;
  #accepted: number;
  #refusal: NativeError | undefined;

  constructor(accepted: number, refusal?: NativeError, followed?: Promise<DmRun>) {
    this.#accepted = accepted;
    this.#refusal = refusal;
    this.followed = followed;
  }

  /** Whether the next message was accepted. */
  takeAccepted(): boolean {
    if (this.#accepted === 0) return false;
    this.#accepted -= 1;
    return true;
  }

  /** Throws the refusal, if it is of the next message and of no code that the caller deals with. */
  takeRefusal(...except: readonly NativeError["code"][]): void {
    const refusal = this.#refusal;
    this.#refusal = undefined;
    if (refusal !== undefined && !except.includes(refusal.code)) throw refusal;
  }
}

export class Transactions {
  readonly #host: TransactionsHost;
  #waiting: Waiting[] = [];
  #running = false;

  constructor(host: TransactionsHost) {
    this.#host = host;
  }

  /** Resolves once the member counts. Rejects with it taken out, or with an UndoError or LedgerCommitError. */
  commit(member: Member): Promise<Committed> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ member, resolve, reject });
      if (this.#running) return;
      this.#running = true;
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    // Those of later groups gather while an earlier one runs.
    await gather({
      count: () => this.#waiting.length,
      coming: () => this.#host.operations,
      most: MAX_GROUP_DEVICES,
    });
    while (this.#waiting.length > 0) {
      const group = this.#take();
      try {
        await this.#host.withPool(() => this.#runGroup(group));
      } catch (error) {
        // Before the next group begins: it would use the transaction id that is in doubt (INV-7).
        if (isDoubt(error)) this.#host.failure(error, "transaction", "the group");
        for (const { reject } of group) reject(error);
      }
    }
    this.#running = false;
  }

  #take(): readonly Waiting[] {
    let devices = 0;
    const size = this.#waiting.findIndex(({ member }, index) => {
      devices += devicesOf(member);
      return index > 0 && devices > MAX_GROUP_DEVICES;
    });
    return this.#waiting.splice(0, size < 0 ? this.#waiting.length : size);
  }

  /** A throw is every member's failure: the pool is degraded, or nothing has happened. */
  async #runGroup(group: readonly Waiting[]): Promise<void> {
    const { pool, transactionId: current } = this.#host;
    this.#host.assertWritable("transaction", `transaction ${current + 1n}`);
    const next = transactionId(current + 1n);
    const { recorded, commit } = this.#record(group, next);
    if (recorded.length === 0 || commit === undefined) return;
    const dropped: { readonly member: Recorded; readonly error: unknown }[] = [];
    const step = async (member: Recorded, body: () => Promise<void>): Promise<void> => {
      try {
        await body();
      } catch (error) {
        if (isDoubt(error)) throw error;
        dropped.push({ member, error });
      }
    };
    // Creations first: they can be undone, so until the first deletion there is a way back for all.
    const maker = this.#host.thinMaker();
    const run = await this.#runStraight(maker, recorded, next, commit);
    for (const member of recorded) {
      if (member.records.length > 0 && run.takeAccepted()) continue;
      await step(member, async () => {
        // Of an id that is taken: `make` goes on to the next one.
        if (member.records.length > 0) run.takeRefusal("NATIVE_EXISTS");
        const made = await maker.make(member.waiting.member.creations, member.records);
        member.records = made.records;
        member.pauseMs = made.pauseMs;
      });
    }
    let deleted = false;
    for (const member of recorded) {
      const { deletion } = member.waiting.member;
      if (deletion === undefined || dropped.some((other) => other.member === member)) continue;
      if (run.takeAccepted()) {
        deleted = true;
        continue;
      }
      await step(member, async () => {
        run.takeRefusal("NATIVE_NOT_FOUND", "NATIVE_BUSY");
        await pool.deleteThin(deletion.thinId);
        deleted = true;
      });
    }
    const left = recorded.filter((member) => !dropped.some((other) => other.member === member));
    if (dropped.length > 0) {
      // Before the id moves on: what is still recorded then counts.
      this.#drop(
        dropped.map(({ member }) => member),
        next,
        left.length === 0,
      );
      for (const { member, error } of dropped) member.waiting.reject(error);
    }
    if (left.length === 0) return;
    try {
      if (!run.takeAccepted()) {
        run.takeRefusal();
        await pool.setTransactionId(current, next);
      }
    } catch (error) {
      // Whether the id moved is not known: then nothing may go back.
      if (isDoubt(error)) throw error;
      if (deleted)
        throw new UndoError(error, [new Error("what was deleted can't be brought back")]);
      await this.#undo(left, error, next);
      throw error;
    }
    this.#host.transactionId = next;
    const { followed } = run;
    for (const { waiting, records, pauseMs } of left) {
      waiting.resolve({ records, pauseMs, followed });
    }
  }

  /**
   * The group's messages and its set_transaction_id in one run, which is far faster than one by one;
   * nothing is sent where a member needs more than messages. What the run did not reach goes step by
   * step. The group's commit lasts when it resolves (INV-3): it is synced on the run's way.
   */
  async #runStraight(
    maker: ThinMaker,
    members: readonly Recorded[],
    next: TransactionId,
    commit: UnsyncedCommit,
  ): Promise<MessageRun> {
    const texts: string[] = [];
    for (const { waiting, records } of members) {
      const messages = maker.straightMessages(waiting.member.creations, records);
      if (messages === undefined) {
        // Its steps come one by one.
        await commit.sync();
        return new MessageRun(0);
      }
      texts.push(...messages);
    }
    for (const { waiting } of members) {
      const { deletion } = waiting.member;
      if (deletion !== undefined) texts.push(thinPoolMessage.delete(deletion.thinId));
    }
    texts.push(thinPoolMessage.setTransactionId(this.#host.transactionId, next));
    try {
      const then = nextOf(members);
      const run = await this.#host.pool.messages(texts, then, commit.file);
      if (run.unsynced === true) throw commit.failed(run.failure);
      commit.synced();
      return new MessageRun(run.accepted, run.failure, run.followed);
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      // None could be sent: step by step each member meets, and undoes, the same.
      await commit.sync();
      return new MessageRun(0);
    }
  }

  /** Those that could be recorded; the others have been told. */
  #record(
    group: readonly Waiting[],
    next: TransactionId,
  ): { readonly recorded: Recorded[]; readonly commit: UnsyncedCommit | undefined } {
    const { outcomes, commit } = this.#host.ledger.beginGroup(
      group.map(({ member }) => ({
        creations: member.creations.map(({ device }) => device),
        deletions: member.deletion === undefined ? [] : [member.deletion],
        refuse: this.#refuseOf(member),
      })),
      next,
    );
    const recorded: Recorded[] = [];
    for (const [index, waiting] of group.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined || outcome instanceof PoolError) waiting.reject(outcome);
      else recorded.push({ waiting, records: outcome, pauseMs: 0 });
    }
    return { recorded, commit };
  }

  /** Undefined where devices may promise any sum: then nobody adds it up. */
  #refuseOf({ creations, replaces }: Member): Intent["refuse"] {
    const { space } = this.#host;
    if (creations.length === 0 || space.policy.overProvisioning.mode === "allow") return undefined;
    const object = replaces?.name ?? creations.map(({ device }) => device.name).join(", ");
    const operation = replaces === undefined ? "creation" : "revert";
    const freedBytes = replaces?.sizeBytes ?? 0n;
    return (promisedBytes) => space.refusePromise(operation, object, promisedBytes - freedBytes);
  }

  #drop(members: readonly Recorded[], next: TransactionId, empty: boolean): void {
    this.#host.ledger.dropIntents(
      {
        creations: members.flatMap(({ records }) => records),
        deletions: members.flatMap(({ waiting }) => waiting.member.deletion ?? []),
      },
      next,
      empty,
    );
  }

  /** The id did not move: the whole group goes back. */
  async #undo(members: readonly Recorded[], cause: unknown, next: TransactionId): Promise<void> {
    try {
      for (const { records } of members) {
        for (const { thinId } of records) await this.#host.pool.deleteThin(thinId);
      }
      this.#drop(members, next, true);
    } catch (error) {
      const failure = error instanceof Error ? error : new Error(String(error));
      throw new UndoError(cause, [failure]);
    }
  }
}

function nextOf(members: readonly Recorded[]): readonly DmStep[] | undefined {
  const [only, ...others] = members;
  const record = only?.records[0];
  if (only === undefined || record === undefined || others.length > 0) return undefined;
  return only.waiting.member.next?.(record);
}

function devicesOf(member: Member): number {
  return member.creations.length + (member.deletion === undefined ? 0 : 1);
}

/**
 * A pool's space: what is free, growing, refusing what would make it worse. One task at a time, but
 * not in the queue of changes: an mkfs that waits for space would keep its own rescue waiting.
 */
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { checkRoom } from "../folder.ts";
import { sickPoolError } from "../health/sick-pool.ts";
import { KeyedLocks } from "../locks.ts";
import { poolTable } from "../tables.ts";
import { type CreationQuestion, refuseCreation, refusePromise } from "./admission.ts";
import { secondsUntil, UseHistory } from "./forecast.ts";
import { growSpace, type GrowingSpace } from "./grow.ts";
import { growthLimit, planGrowth } from "./growth-plan.ts";
import { freeBytes, growthQuestion, type Limits, type WorkingMeasure } from "./levels.ts";
import { type Measure, measure } from "./measure.ts";
import { DEFAULT_POLL_INTERVAL_MS, Monitor, type MonitorOptions } from "./monitor.ts";
import type { SpacePolicy } from "./policy.ts";
import { isGrowing, targetOf } from "./sizes.ts";
import { SPACES, Watch } from "./watch.ts";

/** Tasks of one pool's space run one after another. */
const ALONE = { exclusive: ["space"] } as const;
/** A creation goes by a measure that is no older, but for one near a floor, which looks anew. */
const FRESH_MS = 5_000;
/** Nor do more than so many go by the same one: each takes a block or two of metadata. */
const FRESH_ADMISSIONS = 64;
/** Near: less than so many times the floor, or the low water, is free. */
const NEAR_FLOOR = 8n;
const NEAR_LOW_WATER = 2n;
/** Steps of growth in one look; the next look goes on. */
const MAX_STEPS_PER_LOOK = 8;
/** Between two samples of the forecast at least, however many events there are. */
const MIN_SAMPLE_INTERVAL_MS = 900;
/** After a growth that failed, and up to how long after many. */
const MIN_RETRY_MS = 10_000;
const MAX_RETRY_MS = 600_000;

export interface SpaceForecast {
  /** Undefined where its use is not growing, or too little is known. */
  readonly growthBytesPerSecond: number | undefined;
  /** At its present size; 0 where it is full. */
  readonly secondsToFull: number | undefined;
  /** With all the growth that the policy and the host allow. */
  readonly secondsToExhausted: number | undefined;
  /** How large it may become by itself. */
  readonly growthLimitBytes: bigint;
  /** Why no larger. */
  readonly growthLimitReason: string;
}

export class Space {
  readonly #engine: Engine;
  readonly #turn = new KeyedLocks();
  readonly #watch: Watch;
  readonly #monitor: Monitor | undefined;
  readonly #histories: Readonly<Record<GrowingSpace, UseHistory>> = {
    data: new UseHistory(),
    metadata: new UseHistory(),
  };
  /** What the live table says of writes that find no block. */
  #failsWhenFull: boolean;
  #dataExhausted = false;
  /** No task begins: the pool is being closed. */
  #stopped = false;
  #last: Measure | undefined;
  #measuring: Promise<Measure> | undefined;
  /** Since the last measure. */
  #admissions = 0;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #retryAtMs = 0;

  constructor(
    engine: Engine,
    options: { readonly failsWhenFull: boolean; readonly monitor: MonitorOptions | false },
  ) {
    this.#engine = engine;
    this.#failsWhenFull = options.failsWhenFull;
    this.#watch = new Watch((body) => engine.events.note({ body }));
    this.#monitor =
      options.monitor === false
        ? undefined
        : new Monitor({
            dm: engine.kernel.dm,
            intervalMs: options.monitor.pollIntervalMs ?? DEFAULT_POLL_INTERVAL_MS,
            look: () => this.look(),
            failed: (error) => this.#growthFailed(error),
          });
  }

  get failsWhenFull(): boolean {
    return this.#failsWhenFull;
  }

  get isMonitored(): boolean {
    return this.#monitor?.isRunning ?? false;
  }

  get policy(): SpacePolicy {
    return this.#engine.policy;
  }

  start(): void {
    this.#stopped = false;
    this.#monitor?.start();
  }

  async stop(): Promise<void> {
    await this.#monitor?.stop();
    this.#stopped = true;
    // What a caller asked for ends as well.
    await this.#turn.runAlways(ALONE, () => Promise.resolve());
  }

  async measure(): Promise<Measure> {
    const { kernel, pool, poolRecord } = this.#engine;
    this.#last = await measure(kernel, pool, poolRecord);
    this.#admissions = 0;
    return this.#last;
  }

  /** Measures, tells what has changed, grows what is low. */
  look(): Promise<void> {
    return this.#task("look", async () => {
      await this.#lookNow();
    });
  }

  /**
   * POOL_NO_SPACE where the pool is below a floor, out of data, or would promise more than its policy
   * allows, `newBytes` included. Undefined where that is known not to be so without asking anybody:
   * then what is asked for at one moment stays together.
   */
  admit(operation: string, object: string, newBytes: bigint): Promise<void> | undefined {
    const known = this.#fresh();
    const question = (measured: Measure): CreationQuestion =>
      this.#question(operation, object, measured, newBytes);
    this.#admissions += 1;
    if (known !== undefined && refuseCreation(question(known)) === undefined) return undefined;
    return this.#admit(question);
  }

  /**
   * POOL_NO_SPACE, or undefined: whether all devices together may promise so much. For whoever is about to record
   * them, or has in a commit under way: what is asked for at one moment is admitted by itself, before the others.
   */
  refusePromise(operation: string, object: string, promisedBytes: bigint): PoolError | undefined {
    const { policy, poolRecord, blockBytes } = this.#engine;
    const { dataBytes } = poolRecord;
    const totalBytes = dataBytes - (dataBytes % blockBytes);
    return refusePromise({ operation, object, policy, promisedBytes, totalBytes });
  }

  /** False where the kernel's pool is read-only, needs a check or has failed. */
  async takesChanges(): Promise<boolean> {
    const { state } = await this.#recent();
    return state === "working" || state === "out-of-data";
  }

  /** Grows one space to `toBytes`, whatever the policy says. Ends a growth that failed before. */
  extend(space: GrowingSpace, toBytes: bigint): Promise<void> {
    return this.#task("extension", async () => {
      const sizes = (): bigint =>
        this.#engine.poolRecord[space === "data" ? "dataBytes" : "metadataBytes"];
      if (isGrowing(this.#engine.poolRecord)) await this.#grow(space, toBytes, "caller");
      if (toBytes < sizes()) throw smaller(this.#engine.folder, space, toBytes, sizes());
      if (toBytes === sizes()) return;
      refuseSick(this.#engine.folder, await this.measure());
      await checkRoom(this.#engine.folder, "extension");
      await this.#grow(space, toBytes, "caller");
    });
  }

  /** A new policy takes effect: the answer of a full pool now, growth at the next look. */
  applyPolicy(): Promise<void> {
    // Other floors: what was far from them may be near.
    this.#last = undefined;
    return this.#task("policy", () => this.#answerWhenFull());
  }

  async forecast(seen: WorkingMeasure): Promise<Readonly<Record<GrowingSpace, SpaceForecast>>> {
    const limits = await this.limits();
    return {
      data: this.#forecastOf(seen, "data", limits),
      metadata: this.#forecastOf(seen, "metadata", limits),
    };
  }

  async limits(): Promise<Limits> {
    const { kernel, poolRecord: record, blockBytes, policy } = this.#engine;
    const devices =
      record.backing === "files"
        ? undefined
        : {
            dataBytes: await kernel.blocks.sizeBytes(record.dataPath),
            metadataBytes: await kernel.blocks.sizeBytes(record.metadataPath),
          };
    return { policy, lowWaterBytes: record.lowWaterBlocks * blockBytes, blockBytes, devices };
  }

  async #lookNow(): Promise<void> {
    for (let step = 0; step < MAX_STEPS_PER_LOOK; step += 1) {
      const seen = await this.measure();
      this.#watch.state(seen);
      if (!isWorking(seen)) return;
      const limits = await this.limits();
      this.#watch.levels(seen, limits);
      this.#sample(seen, limits);
      if (this.#engine.life.state !== "open") return;
      const grown = await this.#growWhereLow(seen, limits);
      await this.#answerWhenFull();
      if (!grown) return;
    }
  }

  /** True where something grew: then the picture is another. */
  async #growWhereLow(seen: WorkingMeasure, limits: Limits): Promise<boolean> {
    const { poolRecord: record } = this.#engine;
    // One that failed half-way goes first, whatever may be begun now: it has what it takes of the host.
    if (isGrowing(record) && this.#mayGrow(seen)) {
      return this.#tryGrowth("data", targetOf(record).dataBytes);
    }
    let grown = false;
    for (const space of SPACES) {
      const plan = planGrowth(growthQuestion(seen, space, limits));
      if (space === "data") this.#dataExhausted = plan.verdict === "exhausted";
      this.#watch.exhausted(space, plan.verdict === "exhausted" ? plan.reason : undefined);
      if (plan.verdict !== "grow" || !this.#mayGrow(seen)) continue;
      if (!(await this.#tryGrowth(space, plan.toBytes))) return false;
      grown = true;
    }
    return grown;
  }

  #mayGrow(seen: WorkingMeasure): boolean {
    return seen.state !== "needs-check" && performance.now() >= this.#retryAtMs;
  }

  /** False where it failed: the next try is not at once. */
  async #tryGrowth(space: GrowingSpace, toBytes: bigint): Promise<boolean> {
    try {
      await this.#grow(space, toBytes, "policy");
      return true;
    } catch (error) {
      this.#growthFailed(error);
      return false;
    }
  }

  async #grow(space: GrowingSpace, toBytes: bigint, by: "policy" | "caller"): Promise<void> {
    const { events, poolRecord: before } = this.#engine;
    await growSpace(this.#engine, space, toBytes);
    const { dataBytes, metadataBytes } = this.#engine.poolRecord;
    this.#failures = 0;
    this.#retryAtMs = 0;
    this.#watch.growthWorks();
    if (dataBytes !== before.dataBytes || metadataBytes !== before.metadataBytes) {
      events.note({ body: { type: "grown", dataBytes, metadataBytes, by } });
    }
  }

  /** Switches the kernel between waiting and failing, where the policy wants it otherwise. */
  async #answerWhenFull(): Promise<void> {
    const { onNoSpace } = this.#engine.policy;
    const fail =
      onNoSpace === "error_if_no_space" ||
      (onNoSpace === "error_when_exhausted" && this.#dataExhausted);
    if (fail === this.#failsWhenFull || isGrowing(this.#engine.poolRecord)) return;
    const { pool, poolRecord, backing, events } = this.#engine;
    const table = poolTable(poolRecord, backing, { errorIfNoSpace: fail });
    await this.#engine.alonePool(() => pool.swapTable(table));
    this.#failsWhenFull = fail;
    const answer = fail ? "error_if_no_space" : "queue_if_no_space";
    events.note({ body: { type: "no-space-answer", answer } });
  }

  #sample(seen: WorkingMeasure, limits: Limits): void {
    if (seen.atMs - this.#sampledAtMs < MIN_SAMPLE_INTERVAL_MS) return;
    this.#sampledAtMs = seen.atMs;
    for (const space of SPACES) {
      const { usedBytes } = seen.use[space];
      this.#histories[space].add({ atMs: seen.atMs, usedBytes });
      this.#watch.forecast(space, this.#forecastOf(seen, space, limits).secondsToExhausted);
    }
  }

  #forecastOf(seen: WorkingMeasure, space: GrowingSpace, limits: Limits): SpaceForecast {
    const perSecond = this.#histories[space].growthPerSecond();
    const limit = growthLimit(growthQuestion(seen, space, limits));
    const use = seen.use[space];
    return {
      growthBytesPerSecond: perSecond,
      secondsToFull: secondsUntil(freeBytes(use), perSecond),
      secondsToExhausted: secondsUntil(limit.bytes - use.usedBytes, perSecond),
      growthLimitBytes: limit.bytes,
      growthLimitReason: limit.reason,
    };
  }

  #growthFailed(error: unknown): void {
    const { folder } = this.#engine;
    const failure = this.#engine.failure(error, "growth", folder);
    this.#failures += 1;
    const wait = Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** Math.min(this.#failures - 1, 16));
    this.#retryAtMs = performance.now() + wait;
    this.#watch.growthFailed(failure.reason);
  }

  async #admit(question: (measured: Measure) => CreationQuestion): Promise<void> {
    if (refuseCreation(question(await this.#measureTogether())) === undefined) return;
    // Growth may be all that it takes.
    await this.look();
    const refused = refuseCreation(question(await this.measure()));
    if (refused !== undefined) throw refused;
  }

  #question(
    operation: string,
    object: string,
    measured: Measure,
    newBytes: bigint,
  ): CreationQuestion {
    const { ledger, policy, transactionId } = this.#engine;
    const promisedBytes =
      policy.overProvisioning.mode === "allow"
        ? 0n
        : ledger.promisedBytes(transactionId) + newBytes;
    return { operation, object, measure: measured, policy, promisedBytes };
  }

  async #recent(): Promise<Measure> {
    return this.#fresh() ?? this.#measureTogether();
  }

  /** Those who ask at one moment share one measure, and stay together. */
  #measureTogether(): Promise<Measure> {
    this.#measuring ??= this.measure().finally(() => {
      this.#measuring = undefined;
    });
    return this.#measuring;
  }

  /** The last measure, where it is still good to go by. */
  #fresh(): Measure | undefined {
    const last = this.#last;
    if (last === undefined || performance.now() - last.atMs > FRESH_MS) return undefined;
    if (this.#admissions >= FRESH_ADMISSIONS) return undefined;
    return isWorking(last) && !this.#isNear(last) ? last : undefined;
  }

  #isNear(seen: WorkingMeasure): boolean {
    const { policy, poolRecord, blockBytes } = this.#engine;
    const free = freeBytes(seen.use.data);
    return (
      seen.state !== "working" ||
      free < policy.dataFloorBytes * NEAR_FLOOR ||
      free < poolRecord.lowWaterBlocks * blockBytes * NEAR_LOW_WATER ||
      freeBytes(seen.use.metadata) < policy.metadataFloorBytes * NEAR_FLOOR
    );
  }

  #task<T>(operation: string, body: () => Promise<T>): Promise<T> {
    return this.#turn.run(operation, ALONE, async () => {
      try {
        this.#engine.assertNotClosed(operation, this.#engine.folder);
        if (this.#stopped) throw beingClosed(operation, this.#engine.folder);
        return await body();
      } catch (error) {
        throw this.#engine.failure(error, operation, this.#engine.folder);
      }
    });
  }
}

export function isWorking(seen: Measure): seen is WorkingMeasure {
  return seen.use !== undefined;
}

/** A pool that needs a check takes a longer table, ignores it, and reports success. */
function refuseSick(object: string, seen: Measure): void {
  const { state } = seen;
  if (state === "failed" || state === "needs-check") {
    throw sickPoolError(state, "extension", object);
  }
}

function beingClosed(operation: string, object: string): PoolError {
  return new PoolError({
    code: "POOL_CLOSED",
    operation,
    object,
    reason: "the pool is being closed",
    hint: "Open it again.",
  });
}

function smaller(object: string, space: GrowingSpace, toBytes: bigint, has: bigint): PoolError {
  return new PoolError({
    code: "POOL_OPTION_INVALID",
    operation: "extension",
    object,
    reason: `its ${space} has ${has} bytes already, ${toBytes} are fewer`,
    hint: "A pool can't be made smaller.",
  });
}

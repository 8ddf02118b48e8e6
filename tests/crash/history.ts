/**
 * One history: a pool is made, operations run on it, several at once; calls fail, the process or the
 * machine dies, again while the pool is opened; after each of it the judge looks. All from one seed.
 */
import { join } from "node:path";
import type { ErrnoName } from "@thinpool/dm-sim";
import {
  createPool,
  openPool,
  planRecovery,
  PoolError,
  repairPool,
  restorePool,
  type ThinPool,
} from "@thinpool/thinpool";
import { makeGolden, pageOf, pageOffset, PAGES_BY_BLOCK, pickPage } from "./contents.ts";
import { expect, Finding } from "./finding.ts";
import { enter, real } from "./intercept.ts";
import { checkNothingLeft, judge } from "./judge.ts";
import {
  describe,
  flushed,
  type Model,
  restored,
  withDevice,
  without,
  writing,
  written,
} from "./model.ts";
import { planBatch, type Step } from "./operations.ts";
import { Random } from "./random.ts";
import { type Death, type Plan, World } from "./world.ts";

const BACKING = { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } as const;
const BLOCK_SECTORS = 128n;
const ERRNOS: readonly ErrnoName[] = ["EIO", "ENOSPC", "ENOMEM", "EBUSY", "EEXIST", "EOPNOTSUPP"];
/** Creating a pool passes about so many boundaries, a batch of operations and an opening too. */
const CREATE_BOUNDARIES = 80;
const OPEN_BOUNDARIES = 60;
const BATCH_BOUNDARIES = 60;
const MAINTENANCE_BOUNDARIES = 120;
const LOOK_BOUNDARIES = 40;
/** Openings that somebody has planned before. */
const PLANNED_PERCENT = 10;
/** Histories in which a backup is put back, or damaged metadata is repaired. */
const MAINTAINED_PERCENT = 8;
/** Openings that a history lets fail in a row before it lets one be. */
const MAX_BROKEN_OPENINGS = 4;
/** A tag is never 0, which stands for a page that was not written. */
const MAX_TAG = 0xffff_fffe;

interface Broken {
  readonly pending: readonly Step[];
  readonly before: Model;
}

class History {
  readonly #random: Random;
  readonly #world: World;
  #model: Model = new Map();
  #pool: ThinPool | undefined;
  /** Steps cut short since the last judgement. */
  #broken: Broken = { pending: [], before: new Map() };
  #cut = false;

  constructor(base: string, seed: number) {
    this.#random = new Random(seed);
    this.#world = new World(base, this.#random);
  }

  get world(): World {
    return this.#world;
  }

  async run(): Promise<void> {
    await makeGolden(this.#world.kernel);
    await this.#create();
    const rounds = this.#random.chance(70) ? 1 : 2;
    for (let round = 0; round < rounds; round += 1) {
      await this.#round();
      await this.#reopen();
      await this.#judge();
    }
    if (this.#random.chance(MAINTAINED_PERCENT)) {
      await (this.#random.chance(60) ? this.#restoreBackup() : this.#repair());
    }
    await this.#end();
  }

  /** A death or some faults at a random boundary of the next so many; or nothing. */
  #plan(boundaries: number, percent: number): Plan {
    const random = this.#random;
    if (!random.chance(percent)) return {};
    if (random.chance(60)) {
      const of: Death = random.chance(50) ? "process" : "machine";
      return { death: { at: random.below(boundaries), of } };
    }
    const faults = Array.from({ length: random.chance(70) ? 1 : random.between(2, 5) }, () => ({
      at: random.below(boundaries),
      errno: random.pick(ERRNOS),
    }));
    return { faults };
  }

  async #create(): Promise<void> {
    const world = this.#world;
    for (let attempt = 0; ; attempt += 1) {
      const last = attempt >= MAX_BROKEN_OPENINGS;
      world.arm({});
      const before = await world.kernel.leftovers();
      world.arm(last ? {} : this.#plan(CREATE_BOUNDARIES, 20));
      try {
        const { folder, kernel } = world;
        const options = { folder, kernel, backing: BACKING, blockSectors: BLOCK_SECTORS };
        this.#pool = await createPool(options);
        if (world.dead === undefined) return;
        await this.#abandon();
        return await this.#reopen();
      } catch (error) {
        if (world.dead !== undefined) this.#afterDeath();
        else {
          const code = poolCode(error, world.injected === 0);
          if (code === "POOL_EXISTS") return await this.#reopen();
          world.arm({});
          if (code !== "POOL_DEGRADED") await checkNothingLeft(world, before);
        }
      }
    }
  }

  /** Batches of steps until something dies, the pool is degraded, or there were enough. */
  async #round(): Promise<void> {
    const random = this.#random;
    this.#world.arm(this.#plan(BATCH_BOUNDARIES * 2, 85));
    const batches = random.between(2, 5);
    for (let batch = 0; batch < batches; batch += 1) {
      if (!(await this.#batch())) return;
    }
  }

  /** False where the pool must be opened anew. */
  async #batch(): Promise<boolean> {
    const { pool } = this.#opened();
    const before = this.#model;
    const steps = planBatch(this.#random, before);
    const pending = new Set(steps);
    let degraded = false;
    const runs = steps.map(async (step) => {
      try {
        await step.run(pool, this.#world.kernel);
        pending.delete(step);
        this.#model = step.effect(this.#model, before);
      } catch (error) {
        if (this.#world.dead !== undefined) return;
        if (poolCode(error, this.#world.injected === 0) === "POOL_DEGRADED") degraded = true;
        else if (step.eitherOnError !== true) pending.delete(step);
        // Which half stands is to be seen from the outside.
        else degraded = true;
      }
    });
    const touched = new Set(steps.flatMap((step) => step.touches));
    await Promise.all([...runs, this.#write(pool, touched)]);
    this.#broken = { pending: [...pending], before };
    return this.#world.dead === undefined && !degraded;
  }

  /** A program writes into an active device that no step works on, and may flush it. */
  async #write(pool: ThinPool, touched: ReadonlySet<string>): Promise<void> {
    const random = this.#random;
    const devices = pool.list().filter(({ active, name }) => active && !touched.has(name));
    if (devices.length === 0) return;
    const { name, path } = random.pick(devices);
    const page = pickPage(random);
    const tag = 1 + random.below(MAX_TAG);
    const flush = random.chance(40);
    const change = (next: typeof writing): void => {
      const device = this.#model.get(name);
      if (device === undefined) throw new Finding("failed", `${name} is listed, not in the model`);
      const content = next(device.content, page, tag);
      this.#model = withDevice(this.#model, { ...device, content });
    };
    try {
      change(writing);
      await this.#world.kernel.write(path, pageOffset(page), pageOf(tag));
      change(written);
      if (!flush) return;
      await this.#world.kernel.flush(path);
      change(flushed);
    } catch (error) {
      // A program sees its own write fail, or dies with the rest.
      if (error instanceof Finding) throw error;
    }
  }

  #opened(): { readonly pool: ThinPool } {
    const pool = this.#pool;
    if (pool === undefined) throw new Error("the history has no open pool");
    return { pool };
  }

  /** The dead process' pool lets go of its lock and files, as the kernel does for it. */
  async #abandon(): Promise<void> {
    const pool = this.#pool;
    this.#pool = undefined;
    try {
      await pool?.detach();
    } catch (error) {
      // The dead write nothing any more, and nobody hears what they say of it; the living have let go
      // of the folder all the same, and the next opening shows whether they did.
      if (this.#world.dead === undefined) poolCode(error, this.#world.injected === 0);
    }
    if (this.#world.dead !== undefined) this.#afterDeath();
  }

  #afterDeath(): void {
    if (this.#world.dead === "machine") this.#cut = true;
    this.#world.revive();
  }

  /** Opens the pool again, through deaths and faults, until it is open. */
  async #reopen(): Promise<void> {
    const world = this.#world;
    if (this.#pool !== undefined) {
      if (world.dead === undefined && this.#random.chance(30)) await this.#close();
      else await this.#abandon();
    }
    for (let attempt = 0; ; attempt += 1) {
      const last = attempt >= MAX_BROKEN_OPENINGS;
      if (this.#random.chance(PLANNED_PERCENT)) await this.#look();
      world.arm({});
      const before = await world.kernel.leftovers();
      world.arm(last ? {} : this.#plan(OPEN_BOUNDARIES, 45));
      try {
        this.#pool = await openPool({ folder: world.folder, kernel: world.kernel });
        if (world.dead === undefined) {
          world.arm({});
          return;
        }
        await this.#abandon();
      } catch (error) {
        if (world.dead !== undefined) this.#afterDeath();
        else if (last) throw error;
        else await this.#refused(error, before);
      }
    }
  }

  /** What opening would do is looked at first: that leaves nothing, or what opening can do with. */
  async #look(): Promise<void> {
    const world = this.#world;
    world.arm({});
    const before = await world.kernel.leftovers();
    world.arm(this.#plan(LOOK_BOUNDARIES, 50));
    try {
      await planRecovery({ folder: world.folder, kernel: world.kernel });
    } catch (error) {
      // A growth of the metadata that was interrupted can't be looked at.
      const isKnown = error instanceof PoolError && error.code === "POOL_UNSUPPORTED";
      if (world.dead === undefined) {
        if (!isKnown && world.injected === 0) throw error;
        if (poolCode(error, false) === "POOL_DEGRADED") return;
      }
    }
    if (world.dead !== undefined) return this.#afterDeath();
    world.arm({});
    const left = (await world.kernel.leftovers()).filter((what) => !before.includes(what));
    expect(left.length === 0, "leaked", () => `planning left ${left.join()}`);
  }

  /** Opening failed: by what was injected, and then it leaves nothing that was not there. */
  async #refused(error: unknown, before: readonly string[]): Promise<void> {
    // Nothing that a user did can be the reason.
    if (this.#world.injected === 0) throw error;
    const code = poolCode(error, false);
    if (code === "POOL_DEGRADED") return;
    this.#world.arm({});
    const left = (await this.#world.kernel.leftovers()).filter((what) => !before.includes(what));
    expect(left.length === 0, "leaked", () => `opening failed (${code}) and left ${left.join()}`);
  }

  /** Closes as a user would; where that is refused, the process just ends. */
  async #close(): Promise<void> {
    const pool = this.#pool;
    this.#world.arm(this.#plan(OPEN_BOUNDARIES, 20));
    try {
      await pool?.close();
      this.#pool = undefined;
    } catch (error) {
      if (this.#world.dead === undefined) poolCode(error, this.#world.injected === 0);
    }
    await this.#abandon();
  }

  async #judge(): Promise<void> {
    const { pool } = this.#opened();
    const { pending, before } = this.#broken;
    const base = this.#model;
    this.#model = await judge({ world: this.#world, pool, base, before, pending, cut: this.#cut });
    this.#broken = { pending: [], before: this.#model };
    this.#cut = false;
  }

  /** A backup, what happens after it, and the backup put back, through deaths and faults. */
  async #restoreBackup(): Promise<void> {
    const saved = await this.#backup();
    if (saved === undefined) return;
    await this.#round();
    await this.#reopen();
    await this.#judge();
    const present = { model: this.#model, list: listOf(this.#opened().pool) };
    const ended = await this.#maintain(async () => {
      const { folder, kernel } = this.#world;
      const result = await restorePool({ folder, kernel, backup: saved.name });
      const kept = [result.keptMetadataPath, result.keptLedgerPath];
      expect(
        kept.every((path) => real.existsSync(path)),
        "lost",
        () => `of ${kept.join()}`,
      );
    });
    await this.#reopen();
    const found = listOf(this.#opened().pool);
    // Where both have the same devices, all that tells one from the other is what may be anything.
    if (ended || found === saved.list) {
      this.#model = restored(saved.model, present.model, PAGES_BY_BLOCK);
    } else {
      expect(found === present.list, "failed", () => `half restored, it has\n${found}`);
    }
    await this.#judge();
  }

  /** Undefined where it came to nothing. */
  async #backup(): Promise<{ name: string; model: Model; list: string } | undefined> {
    const { pool } = this.#opened();
    const world = this.#world;
    // No two have one time.
    world.sleep(1);
    const moment = { model: this.#model, list: listOf(pool) };
    this.#broken = { pending: [], before: this.#model };
    world.arm(this.#plan(MAINTENANCE_BOUNDARIES, 20));
    try {
      const { name } = await pool.backup();
      if (world.dead === undefined) {
        world.sleep(1);
        return { name, ...moment };
      }
    } catch (error) {
      if (world.dead === undefined) poolCode(error, world.injected === 0);
    }
    await this.#reopen();
    await this.#judge();
    return undefined;
  }

  /** The metadata of the closed pool is damaged, now and then so that a device is lost, and mended. */
  async #repair(): Promise<void> {
    const world = this.#world;
    const devices = this.#opened().pool.list();
    const lost = devices.length > 0 && this.#random.chance(30) ? this.#random.pick(devices) : null;
    const damaged = this.#random.chance(85);
    await this.#maintain(
      () => repairPool({ folder: world.folder, kernel: world.kernel, acceptLoss: true }),
      async () => {
        if (!damaged) return;
        const metadata = join(world.folder, "metadata");
        const { path } = await world.kernel.loops.attach({ backingFile: metadata });
        world.kernel.damageMetadata(path, { lost: lost === null ? [] : [lost.thinId] });
        await world.kernel.loops.detach(path);
      },
    );
    await this.#reopen();
    if (damaged && lost !== null) {
      await this.#opened().pool.remove({ name: lost.name });
      this.#model = without(this.#model, lost.name);
    }
    await this.#judge();
  }

  /**
   * Closes the pool, and calls `run` until it has ended, in a process of its own each time. A restore may
   * be given up in between: false.
   */
  async #maintain(run: () => Promise<unknown>, damage?: () => Promise<void>): Promise<boolean> {
    const world = this.#world;
    world.arm({});
    await this.#opened().pool.close();
    this.#pool = undefined;
    await damage?.();
    for (let attempt = 0; ; attempt += 1) {
      const last = attempt >= MAX_BROKEN_OPENINGS;
      world.arm(last ? {} : this.#plan(MAINTENANCE_BOUNDARIES, 75));
      let ended = false;
      try {
        await run();
        ended = world.dead === undefined;
      } catch (error) {
        if (error instanceof Finding) throw error;
        if (world.dead === undefined && (world.injected === 0 || !(error instanceof PoolError))) {
          throw error;
        }
      }
      this.#afterDeath();
      if (ended) return true;
      if (damage === undefined && this.#random.chance(40)) return false;
    }
  }

  /** The next transaction works, all can be removed, and then nothing is left. */
  async #end(): Promise<void> {
    const { pool } = this.#opened();
    const world = this.#world;
    world.arm({});
    if (this.#random.chance(40)) {
      await pool.createDevice({ name: "last", sizeBytes: 1n << 20n, filesystem: "none" });
      for (const { name } of pool.list()) await pool.remove({ name });
      const { dataUsedBytes } = await pool.status();
      expect(dataUsedBytes === 0n, "leaked", () => `an empty pool uses ${dataUsedBytes} bytes`);
    }
    await pool.close();
    await checkNothingLeft(world, []);
  }
}

/** Which devices the pool has: those of two moments are the same only if their lists are. */
function listOf(pool: ThinPool): string {
  const ids = pool.list().map(({ uuid, thinId }) => `${uuid} ${thinId}`);
  return [describe(pool.list()), ...ids].join("\n");
}

/** The code of an error that an operation may end with; others are findings. */
function poolCode(error: unknown, unprovoked: boolean): string {
  if (!(error instanceof PoolError)) throw error;
  const refusals = [
    "DEVICE_EXISTS",
    "DEVICE_NOT_FOUND",
    "DEVICE_BUSY",
    "POOL_EXISTS",
    "POOL_NOT_FOUND",
  ];
  // I/O that Linux holds back while the pool is suspended to grow: it fails in the simulation.
  if (error.errnoName === "EAGAIN") return error.code;
  if (unprovoked && !refusals.includes(error.code)) throw error;
  return error.code;
}

export interface HistoryResult {
  readonly finding: Finding | undefined;
  /** Equal for equal seeds. */
  readonly trace: number;
  readonly recent: readonly string[];
}

/** Runs one history in a folder of its own, which must not exist. */
export async function runHistory(base: string, seed: number): Promise<HistoryResult> {
  const history = new History(base, seed);
  const { world } = history;
  enter(world);
  let finding: Finding | undefined;
  try {
    await history.run();
  } catch (error) {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
    finding = error instanceof Finding ? error : new Finding("failed", message);
  } finally {
    enter(undefined);
  }
  return { finding, trace: world.trace, recent: world.recent };
}

/**
 * The counting of references on a simulated kernel, with clocks that tests set, and deaths at each
 * boundary: before and after every call to the kernel, every write to the store and every sync of it.
 * A power cut leaves of the store what its last sync began with.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { SimKernel } from "@thinpool/dm-sim";
import { SimCrash, createSimKernel } from "@thinpool/dm-sim";
import type { ThinPool } from "@thinpool/thinpool";
import { DAEMON_FILES, createPool, openPool } from "@thinpool/thinpool";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import { KeyedQueue } from "../keyed-queue.ts";
import type { Logger } from "../log.ts";
import type { MountRules } from "../mounts/rules.ts";
import { ROOT_MOUNT_RULES } from "../mounts/rules.ts";
import type { Clock, ClockReading } from "./deadline.ts";
import type { Claimant, HeldReference, MountWish } from "./mount-service.ts";
import type { References } from "./open.ts";
import { openReferences } from "./open.ts";
import type { ReferenceStore } from "./store.ts";

const BACKING = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
/** The store's methods that write. */
const WRITES = [
  "save",
  "delete",
  "saveSession",
  "deleteSession",
  "saveEphemeral",
  "deleteEphemeral",
] as const;
/** More rounds than anything here needs to come to rest. */
const MAX_ROUNDS = 50;
const parents: string[] = [];

export const GRACE_MS = 30_000;

export async function removeFolders(): Promise<void> {
  for (const parent of parents) await rm(parent, { recursive: true, force: true });
}

export function self(): Claimant {
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
}

export class TestClock implements Clock {
  #reading: ClockReading = { wallMs: 1_800_000_000_000, bootMs: 5_000_000, bootId: "boot-1" };
  #boots = 1;

  read(): ClockReading {
    return this.#reading;
  }

  advance(ms: number): void {
    const { wallMs, bootMs, bootId } = this.#reading;
    this.#reading = { wallMs: wallMs + ms, bootMs: bootMs + ms, bootId };
  }

  /** Somebody sets the wall clock. */
  setBack(ms: number): void {
    this.#reading = { ...this.#reading, wallMs: this.#reading.wallMs - ms };
  }

  reboot(): void {
    this.#boots += 1;
    this.#reading = { ...this.#reading, bootMs: 1_000, bootId: `boot-${this.#boots}` };
  }
}

export class World {
  kernel: SimKernel = createSimKernel();
  readonly clock: TestClock = new TestClock();
  readonly parent: string;
  readonly events: string[] = [];
  /** The uuids of ephemeral devices that were removed. */
  readonly gone: string[] = [];
  rules: MountRules;
  /** The store has no room for this one. */
  refusedWrite: (typeof WRITES)[number] | undefined;
  #pool: ThinPool | undefined;
  #references: References | undefined;
  #dead = false;
  #countdown = Infinity;
  /** The store's files as they are on the disk, whatever was written since. */
  #lasting: ReadonlyMap<string, Buffer> = new Map();

  private constructor(parent: string) {
    this.parent = parent;
    this.rules = { ...ROOT_MOUNT_RULES, folderRoots: [parent] };
  }

  static async begin(): Promise<World> {
    const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-references-"));
    parents.push(parent);
    const world = new World(parent);
    mkdirSync(world.place);
    const { folder, kernel } = world;
    const pool = await createPool({ folder, kernel, backing: BACKING });
    for (const name of ["one", "two"]) {
      await pool.createDevice({ name, sizeBytes: 16n << 20n, ownerUid: self().uid });
    }
    await pool.detach();
    await world.start();
    return world;
  }

  get pool(): ThinPool {
    return this.#pool ?? assert.fail("the daemon does not run");
  }

  get references(): References {
    return this.#references ?? assert.fail("the daemon does not run");
  }

  get folder(): string {
    return join(this.parent, "pool");
  }

  /** A folder of the caller's own. */
  get place(): string {
    return join(this.parent, "place");
  }

  async start(): Promise<void> {
    const { kernel, folder, clock } = this;
    const logger: Logger = { log: (_level, event) => void this.events.push(event) };
    // The monitor asks the kernel by itself: what is counted here is what was asked for.
    this.#pool = await openPool({ folder, kernel, monitor: false });
    this.#references = await openReferences({
      pool: this.#pool,
      kernel,
      mountRoot: join(this.parent, "mounts"),
      blockRoot: join(this.parent, "blocks"),
      queue: new KeyedQueue(),
      rulesFor: () => this.rules,
      logger,
      onGone: (deviceUuid) => void this.gone.push(deviceUuid),
      clock,
      graceMs: GRACE_MS,
      onStore: (store) => this.#watch(store),
    });
  }

  #watch(store: ReferenceStore): void {
    this.#lasting = this.#storeFiles();
    for (const name of WRITES) {
      const write = store[name].bind(store) as (argument: unknown) => void;
      Object.defineProperty(store, name, {
        value: (argument: unknown) => {
          this.#boundary();
          if (this.refusedWrite === name) throw new Error("the disk is full");
          write(argument);
          this.#boundary();
        },
      });
    }
    const sync = store.lasting.bind(store);
    Object.defineProperty(store, "lasting", {
      value: async () => {
        const files = this.#storeFiles();
        await sync();
        this.#lasting = files;
        this.#boundary();
      },
    });
  }

  #storeFiles(): ReadonlyMap<string, Buffer> {
    const paths = ["", "-wal"].map((end) => join(this.folder, `${DAEMON_FILES.references}${end}`));
    return new Map(paths.filter((path) => existsSync(path)).map((p) => [p, readFileSync(p)]));
  }

  /** The process dies at the boundary of that number: nothing of it reaches kernel or store any more. */
  async dieAt(boundary: number, work: () => Promise<unknown>): Promise<"died" | "done" | "failed"> {
    this.#countdown = boundary;
    this.kernel.onCall(() => this.#boundary());
    const outcome = await work().then(
      () => "done" as const,
      () => "failed" as const,
    );
    this.#countdown = Infinity;
    return this.#dead ? "died" : outcome;
  }

  async restart(how: "killed" | "stopped" = "killed"): Promise<void> {
    await this.#stop();
    if (how === "killed") this.kernel.processDeath();
    this.#dead = false;
    await this.start();
  }

  /** The power fails, and comes back; the daemon is not started yet. What the store did not sync is lost. */
  async powerOff(): Promise<void> {
    const lasting = this.#lasting;
    await this.#stop();
    for (const path of this.#storeFiles().keys()) rmSync(path);
    for (const [path, bytes] of lasting) writeFileSync(path, bytes);
    this.kernel = this.kernel.powerCut();
    this.#dead = false;
    this.clock.reboot();
  }

  async reboot(): Promise<void> {
    await this.powerOff();
    await this.start();
  }

  /** The next daemon dies at that boundary of its start; "done": it got through, and runs. */
  async dieWhileStarting(boundary: number): Promise<"died" | "done"> {
    await this.#stop();
    this.kernel.processDeath();
    this.#dead = false;
    const outcome = await this.dieAt(boundary, () => this.start());
    assert.notEqual(outcome, "failed");
    return outcome === "died" ? "died" : "done";
  }

  connect(connection: number): string {
    return this.references.sessions.open(self().uid, connection).session;
  }

  mount(wish: Partial<MountWish> = {}, name = "one"): Promise<HeldReference> {
    const holder = wish.holder ?? { type: "permanent" };
    const device = this.pool.get({ name });
    return this.references.mounts.create(self(), device, { ...wish, holder });
  }

  /** As the reaper does, until nothing is due. */
  async drive(): Promise<void> {
    const { mounts, sessions } = this.references;
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      sessions.expire();
      const due = mounts.due();
      if (due.length === 0) return;
      for (const device of due) await mounts.tend(device);
    }
    assert.fail(`still due: ${mounts.due().join(", ")}`);
  }

  held(): readonly string[] {
    return this.references.mounts.list().map(({ reference }) => reference);
  }

  async mountPoints(): Promise<readonly string[]> {
    return (await this.kernel.mounts.list()).map(({ mountPoint }) => mountPoint).toSorted();
  }

  /** The block devices that users have. */
  async nodes(): Promise<readonly string[]> {
    const all = await this.kernel.leftovers();
    return all.filter((path) => path.startsWith(join(this.parent, "blocks"))).toSorted();
  }

  /** Mounted with holders, or not mounted: never in between, and the store says the same. */
  async check(): Promise<void> {
    const { store, mounts } = this.references;
    const records = store.load();
    assert.ok(records.every(({ state }) => state === "mounted"));
    assert.ok(records.every(({ references }) => references.length > 0));
    const [blocks, mounted] = [true, false].map((isBlock) =>
      records.filter(({ place }) => (place === "block") === isBlock).map(({ target }) => target),
    );
    assert.deepEqual(await this.mountPoints(), mounted?.toSorted());
    assert.deepEqual(await this.nodes(), blocks?.toSorted());
    for (const { name, active } of this.pool.list()) {
      const held = records.some(({ deviceName }) => deviceName === name);
      assert.equal(active, held, `${name} is ${active ? "" : "not "}active`);
    }
    assert.deepEqual(
      records.flatMap(({ references }) => references.map(({ id }) => id)).toSorted(),
      mounts
        .list()
        .map(({ reference }) => reference)
        .toSorted(),
    );
    for (const { deviceName, session } of store.loadEphemerals()) {
      const isMounted = records.some((record) => record.deviceName === deviceName);
      assert.ok(session !== undefined || isMounted, `${deviceName} has no holder`);
    }
    const left = await readdir(join(this.parent, "mounts"), { recursive: true });
    const own = records.filter(({ place }) => place === "own").length;
    assert.ok(left.length <= 1 + own, `left: ${left.join(", ")}`);
  }

  async end(): Promise<void> {
    await this.references.mounts.releaseAll();
    await this.references.close();
    await this.pool.close();
    assert.deepEqual(await this.kernel.leftovers(), []);
  }

  async #stop(): Promise<void> {
    await this.#references?.close();
    this.#references = undefined;
    await this.#pool?.detach().catch((error: unknown) => {
      // A dead process detaches nothing; only its lock has to go.
      assert.ok(error instanceof Error);
    });
    this.#pool = undefined;
  }

  #boundary(): void {
    if (!this.#dead) {
      if (this.#countdown === Infinity) return;
      this.#countdown -= 1;
      if (this.#countdown > 0) return;
      this.#dead = true;
    }
    throw new SimCrash("the process has died");
  }
}

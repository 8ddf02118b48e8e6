/** The daemon's death right before and right after every kernel call of a mount's life. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { SimKernel } from "@thinpool/dm-sim";
import { SimCrash, createSimKernel } from "@thinpool/dm-sim";
import type { ThinPool } from "@thinpool/thinpool";
import { createPool, openPool } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import { MountFolders } from "../mounts/folders.ts";
import { Mounter } from "../mounts/mounter.ts";
import type { Principal } from "../policy/policy.ts";
import { MountService } from "./mount-service.ts";
import { ReferenceStore } from "./store.ts";

const BACKING = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
/** More boundaries than any scenario here has; reaching it means that a crash never came. */
const MAX_BOUNDARIES = 200;
const parents: string[] = [];

after(async () => {
  for (const parent of parents) await rm(parent, { recursive: true, force: true });
});

function caller(): Principal {
  return {
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    pid: process.pid,
    groups: [],
  };
}

class Life {
  readonly kernel: SimKernel;
  readonly parent: string;
  readonly events: string[] = [];
  pool!: ThinPool;
  store!: ReferenceStore;
  service!: MountService;

  constructor(kernel: SimKernel, parent: string) {
    this.kernel = kernel;
    this.parent = parent;
  }

  static async begin(): Promise<Life> {
    const parent = await mkdtemp(join(tmpdir(), "thinpool-service-"));
    parents.push(parent);
    const life = new Life(createSimKernel(), parent);
    const ownerUid = caller().uid;
    const { kernel } = life;
    const pool = await createPool({ folder: life.folder, kernel, backing: BACKING });
    await pool.createDevice({ name: "one", sizeBytes: 16n << 20n, ownerUid });
    await pool.detach();
    await life.start();
    return life;
  }

  get folder(): string {
    return join(this.parent, "pool");
  }

  async start(): Promise<void> {
    const { kernel, folder } = this;
    const pool = await openPool({ folder, kernel });
    const store = new ReferenceStore(join(folder, "references.sqlite"));
    const folders = new MountFolders(join(this.parent, "mounts"));
    await folders.prepareRoot();
    const logger: Logger = { log: (_level, event) => void this.events.push(event) };
    const mounter = new Mounter(kernel, folders);
    this.pool = pool;
    this.store = store;
    this.service = new MountService({ pool, store, mounter, folders, logger });
    await this.service.recover();
  }

  /** The process dies at the boundary of that number: nothing of it reaches kernel or store any more. */
  crashAt(boundary: number): () => boolean {
    let count = 0;
    let crashed = false;
    this.kernel.onCall(() => {
      count += 1;
      if (count !== boundary) return;
      crashed = true;
      this.store.close();
      throw new SimCrash(`boundary ${boundary}`);
    });
    return () => crashed;
  }

  async restart(): Promise<void> {
    await this.pool.detach().catch((error: unknown) => {
      // A dead process detaches nothing; only its lock has to go.
      assert.ok(error instanceof Error);
    });
    this.kernel.processDeath();
    await this.start();
  }

  async mount(): Promise<string> {
    const held = await this.service.create(caller(), this.pool.get({ name: "one" }));
    return held.reference;
  }

  /** Mounted with holders, or not mounted: never in between. */
  async check(): Promise<void> {
    const held = this.service.list();
    const mounts = await this.kernel.mounts.list();
    const { active } = this.pool.get({ name: "one" });
    const whole = held.length > 0;
    assert.deepEqual([mounts.length, active], whole ? [1, true] : [0, false]);
    assert.deepEqual(
      this.store.load().flatMap((record) => record.references.map(({ id }) => id)),
      held.map(({ reference }) => reference),
    );
    assert.ok(this.store.load().every(({ state }) => state === "mounted"));
    if (!whole) {
      const folders = await readdir(join(this.parent, "mounts"), { recursive: true });
      assert.ok(folders.length <= 1, `left: ${folders.join(", ")}`);
    }
  }

  async end(): Promise<void> {
    await this.service.releaseAll();
    this.store.close();
    await this.pool.close();
    assert.deepEqual(await this.kernel.leftovers(), []);
  }
}

/** Runs `work` again and again, each time dying one boundary later, until it gets through. */
async function atEveryBoundary(
  prepare: (life: Life) => Promise<readonly string[]>,
  work: (life: Life, references: readonly string[]) => Promise<unknown>,
  judge: (life: Life, references: readonly string[], done: boolean) => void,
): Promise<number> {
  for (let boundary = 1; boundary <= MAX_BOUNDARIES; boundary += 1) {
    const life = await Life.begin();
    const references = await prepare(life);
    const crashed = life.crashAt(boundary);
    const done = await work(life, references).then(
      () => true,
      () => false,
    );
    const died = crashed();
    if (!died) life.store.close();
    await life.restart();
    await life.check();
    judge(life, references, done);
    // The next life can use it as if nothing had been.
    await life.service.release(await life.mount());
    await life.check();
    await life.end();
    if (!died) return boundary;
  }
  return assert.fail("the scenario did not end");
}

test("dying anywhere in the first mount: it is not there, or it is whole", async () => {
  const boundaries = await atEveryBoundary(
    () => Promise.resolve([]),
    (life) => life.mount(),
    (life, _references, done) => {
      // A caller that was told of its reference has it.
      if (done) assert.equal(life.service.list().length, 1);
    },
  );
  assert.ok(boundaries > 10, `${boundaries} boundaries`);
});

test("dying anywhere in the last release: it is released", async () => {
  const boundaries = await atEveryBoundary(
    async (life) => [await life.mount()],
    (life, references) => life.service.release(references[0] ?? ""),
    (life) => assert.deepEqual(life.service.list(), []),
  );
  assert.ok(boundaries > 4, `${boundaries} boundaries`);
});

test("dying anywhere in a further mount: the first holder keeps its own", async () => {
  await atEveryBoundary(
    async (life) => [await life.mount()],
    (life) => life.mount(),
    (life, references, done) => {
      const held = life.service.list().map(({ reference }) => reference);
      assert.ok(held.includes(references[0] ?? ""));
      if (done) assert.equal(held.length, 2);
    },
  );
});

test("a device that can't be deactivated after its last release is finished on its next use", async () => {
  const life = await Life.begin();
  const reference = await life.mount();
  const letGo = life.kernel.hold(life.pool.get({ name: "one" }).path);
  assert.deepEqual(await life.service.release(reference), { device: "one", count: 0 });
  assert.ok(life.events.includes("device-stays-active"));
  assert.deepEqual(await life.kernel.mounts.list(), []);
  letGo();
  await life.service.assertRemovable(life.pool.get({ name: "one" }));
  await life.check();
  await life.end();
});

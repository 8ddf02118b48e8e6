/**
 * The daemon's death, and the power's, before and after every kernel call, every write and every sync of
 * a reference's life, and again at every such point of the recovery.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import type { TestContext } from "node:test";
import { World, GRACE_MS, removeFolders, self } from "./world.test.support.ts";

/** Of the points of the longest runs every third is tried: before and after a step in turns. */
const STRIDE = 3;
/** More boundaries than any scenario here has; reaching it means that a death never came. */
const MAX_BOUNDARIES = 400;
const LEASE_MS = 60_000;

after(removeFolders);

interface Scenario {
  readonly name: string;
  /** References that were acknowledged before. */
  prepare(world: World): Promise<readonly string[]>;
  work(world: World, references: readonly string[]): Promise<unknown>;
  judge(world: World, references: readonly string[], outcome: "died" | "done" | "failed"): void;
  /** It is held by a session, and those end with the boot. */
  readonly endsWithBoot?: true;
}

async function session(world: World): Promise<readonly string[]> {
  const holder = { type: "session", session: world.connect(1) } as const;
  return [(await world.mount({ holder })).reference];
}

async function lease(world: World): Promise<readonly string[]> {
  return [(await world.mount({ holder: { type: "lease", ttlMs: LEASE_MS } })).reference];
}

async function permanent(world: World): Promise<readonly string[]> {
  return [(await world.mount()).reference];
}

const isTold = (world: World, outcome: string, count: number): void => {
  if (outcome === "done") assert.equal(world.held().length, count);
};

const SCENARIOS: readonly Scenario[] = [
  {
    name: "the first mount: it is not there, or whole",
    prepare: () => Promise.resolve([]),
    work: (world) => world.mount(),
    judge: (world, _references, outcome) => isTold(world, outcome, 1),
  },
  {
    name: "the first mount, by a session",
    prepare: () => Promise.resolve([]),
    work: session,
    endsWithBoot: true,
    judge: (world, _references, outcome) => isTold(world, outcome, 1),
  },
  {
    name: "a further reference: the first holder keeps its own",
    prepare: permanent,
    work: (world) => world.mount(),
    judge: (world, [first = ""], outcome) => {
      assert.ok(world.held().includes(first));
      isTold(world, outcome, 2);
    },
  },
  {
    name: "a second place: the first holder keeps its own",
    prepare: permanent,
    work: (world) => world.mount({ folder: world.place }),
    judge: (world, [first = ""], outcome) => {
      assert.ok(world.held().includes(first));
      isTold(world, outcome, 2);
    },
  },
  {
    name: "the last release: it is released",
    prepare: permanent,
    work: (world, [reference = ""]) => world.references.mounts.release(reference),
    judge: (world, _references, outcome) => {
      if (outcome !== "died") assert.deepEqual(world.held(), []);
      // A death before the first write: nobody was told, and it is held as before.
      assert.ok(world.held().length <= 1);
    },
  },
  {
    name: "the first reference to a block device: it is not there, or whole",
    prepare: () => Promise.resolve([]),
    work: (world) => world.mount({ block: true }),
    judge: (world, _references, outcome) => isTold(world, outcome, 1),
  },
  {
    name: "the last release of a block device: it is released",
    prepare: async (world) => [(await world.mount({ block: true })).reference],
    work: (world, [reference = ""]) => world.references.mounts.release(reference),
    judge: (world, _references, outcome) => {
      if (outcome !== "died") assert.deepEqual(world.held(), []);
      assert.ok(world.held().length <= 1);
    },
  },
  {
    name: "the release of one of two places: the other stays",
    prepare: async (world) => [
      ...(await permanent(world)),
      (await world.mount({ folder: world.place })).reference,
    ],
    work: (world, [reference = ""]) => world.references.mounts.release(reference),
    judge: (world, [, second = ""]) => assert.ok(world.held().includes(second)),
  },
  {
    name: "the end of a lease: it is over, whatever the daemon did",
    prepare: async (world) => {
      const references = await lease(world);
      world.clock.advance(LEASE_MS);
      return references;
    },
    work: (world) => world.drive(),
    judge: (world) => assert.deepEqual(world.held(), []),
  },
  {
    name: "the renewal of a lease: it goes on",
    prepare: async (world) => {
      const references = await lease(world);
      world.clock.advance(LEASE_MS / 2);
      return references;
    },
    work: (world, [reference = ""]) => world.references.mounts.renew(reference, LEASE_MS),
    judge: (world, references, outcome) => {
      assert.deepEqual(world.held(), references);
      world.clock.advance(LEASE_MS * 0.75);
      const due = world.references.mounts.due();
      if (outcome === "done") assert.deepEqual(due, []);
      // The next step tends what is due.
    },
  },
  {
    name: "the end of a session: its references go",
    prepare: async (world) => {
      const references = await session(world);
      world.references.sessions.closed(1);
      world.clock.advance(GRACE_MS);
      return references;
    },
    work: (world) => world.drive(),
    judge: (world) => {
      // A new daemon gives what is left of it a grace period: nobody could come back meanwhile.
      world.clock.advance(GRACE_MS);
    },
  },
  {
    name: "an ephemeral clone, made, mounted and released: it is gone, or somebody holds it",
    prepare: (world) => Promise.resolve([world.connect(1)]),
    work: async (world, [id = ""]) => {
      const { pool, references } = world;
      references.sessions.keep(id);
      const made = { name: "clone", uuid: randomUUID() };
      await references.ephemerals.create({ ...made, session: id }, async () => {
        const ownerUid = self().uid;
        return (await pool.snapshot({ ...made, origin: "one", ownerUid })).device;
      });
      const holder = { type: "session", session: id } as const;
      const { reference } = await world.mount({ holder }, "clone");
      await references.mounts.release(reference);
    },
    judge: (world, _references, outcome) => {
      if (outcome === "done") assert.equal(world.pool.has({ name: "clone" }), false);
      world.clock.advance(GRACE_MS);
    },
  },
];

/** The scenario ends at each boundary, and `comeBack` starts what comes after; the last time it is done before. */
async function atEachBoundary(
  scenario: Scenario,
  t: TestContext,
  comeBack: (
    world: World,
    references: readonly string[],
    outcome: "died" | "done",
  ) => Promise<void>,
): Promise<void> {
  let boundary = 1;
  for (; boundary < MAX_BOUNDARIES; boundary += 1) {
    const world = await World.begin();
    const references = await scenario.prepare(world);
    const outcome = await world.dieAt(boundary, () => scenario.work(world, references));
    assert.ok(outcome !== "failed");
    await comeBack(world, references, outcome);
    await world.drive();
    await world.check();
    assert.equal(world.references.store.loadSessions().length <= 1, true);
    await usable(world);
    if (outcome === "done") break;
  }
  assert.ok(boundary > 2 && boundary < MAX_BOUNDARIES);
  t.diagnostic(`${boundary - 1} boundaries`);
}

for (const scenario of SCENARIOS) {
  const { name, endsWithBoot } = scenario;
  test(`dying anywhere in ${name}`, (t) =>
    atEachBoundary(scenario, t, async (world, references, outcome) => {
      await world.restart(outcome === "died" ? "killed" : "stopped");
      await settled(world);
      scenario.judge(world, references, outcome);
    }));

  test(`a power cut anywhere in ${name}, and right after it`, (t) =>
    atEachBoundary(scenario, t, async (world, references, outcome) => {
      await world.reboot();
      await settled(world);
      assert.deepEqual(world.references.store.loadSessions(), []);
      if (endsWithBoot === true) assert.deepEqual(world.held(), []);
      else scenario.judge(world, references, outcome);
    }));
}

/** What the start left to be done later is done; what waits for a client stays. */
async function settled(world: World): Promise<void> {
  await world.drive();
  await world.check();
}

/** The next user finds it as if nothing had been. */
async function usable(world: World): Promise<void> {
  for (const reference of world.held()) await world.references.mounts.release(reference);
  const held = await world.mount();
  await world.check();
  await world.references.mounts.release(held.reference);
  await world.check();
  world.clock.advance(GRACE_MS);
  await world.drive();
  assert.equal(world.pool.has({ name: "clone" }), false);
  assert.deepEqual(world.references.store.loadSessions(), []);
  assert.deepEqual(world.references.store.loadEphemerals(), []);
  await world.end();
}

test("dying anywhere in the recovery after a death: the next one ends it", async (t) => {
  let tried = 0;
  for (let first = 1; first < MAX_BOUNDARIES; first += STRIDE) {
    let reached = false;
    for (let second = 1; second < MAX_BOUNDARIES; second += STRIDE) {
      const world = await World.begin();
      const [kept = ""] = await permanent(world);
      reached = (await world.dieAt(first, () => world.mount({ folder: world.place }))) === "died";
      if (!reached) {
        await world.end();
        break;
      }
      const again = await world.dieWhileStarting(second);
      if (again === "died") await world.restart();
      await settled(world);
      assert.ok(world.held().includes(kept));
      tried += 1;
      await usable(world);
      if (again === "done") break;
    }
    if (!reached) break;
  }
  assert.ok(tried > 10);
  t.diagnostic(`${tried} pairs of boundaries`);
});

test("dying anywhere in the start after a reboot: permanent mounts and leases come back", async (t) => {
  let boundary = 1;
  for (; boundary < MAX_BOUNDARIES; boundary += STRIDE) {
    const world = await World.begin();
    const [first = ""] = await permanent(world);
    const kept = [
      first,
      (await world.mount({ folder: world.place })).reference,
      (await world.mount({ holder: { type: "lease", ttlMs: LEASE_MS } }, "two")).reference,
    ];
    const holder = { type: "session", session: world.connect(1) } as const;
    await world.mount({ holder });
    await world.powerOff();
    const outcome = await world.dieWhileStarting(boundary);
    if (outcome === "died") await world.restart();
    await settled(world);
    assert.deepEqual(world.held().toSorted(), kept.toSorted());
    assert.equal((await world.mountPoints()).length, 3);
    await usable(world);
    if (outcome === "done") break;
  }
  assert.ok(boundary > 10 && boundary < MAX_BOUNDARIES);
  t.diagnostic(`${boundary} boundaries, every third`);
});

test("dying anywhere in growing an inactive device: it is not left active", async (t) => {
  let boundary = 1;
  for (; boundary < MAX_BOUNDARIES; boundary += 1) {
    const world = await World.begin();
    const sizeBytes = 32n << 20n;
    const outcome = await world.dieAt(boundary, () =>
      world.pool.resize({ name: "one", sizeBytes }),
    );
    await world.restart();
    await world.check();
    const { device } = await world.pool.resize({ name: "one", sizeBytes });
    assert.equal(device.filesystemSmaller, false);
    await usable(world);
    if (outcome === "done") break;
  }
  assert.ok(boundary > 3 && boundary < MAX_BOUNDARIES);
  t.diagnostic(`${boundary} boundaries`);
});

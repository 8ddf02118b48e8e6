/** What waits for the disk: the kernel is not asked, and nobody is told, before what says so lasts (REF-1, REF-7). */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { DAEMON_FILES } from "@thinpool/thinpool";
import { withHeldSyncs } from "../held-syncs.test.support.ts";
import { GRACE_MS, World, removeFolders, self } from "./world.test.support.ts";

const LEASE_MS = 60_000;
const LEASE = { holder: { type: "lease", ttlMs: LEASE_MS } } as const;

after(removeFolders);

/** Runs `work` with held syncs, during which the kernel must not be asked for anything. */
async function held<T>(
  world: World,
  work: () => Promise<T>,
  failing?: number,
): Promise<Awaited<ReturnType<typeof withHeldSyncs<T>>>> {
  let calls = 0;
  const ignore = world.kernel.onCall(() => (calls += 1));
  const options = { of: DAEMON_FILES.references, look: () => calls };
  try {
    return await withHeldSyncs(failing === undefined ? options : { ...options, failing }, work);
  } finally {
    ignore();
  }
}

/** As `held`; what `work` has given, which waited for so many syncs. */
async function waits<T>(world: World, syncs: number, work: () => Promise<T>): Promise<T> {
  const found = await held(world, work);
  if (found.outcome.status === "rejected") throw found.outcome.reason;
  assert.equal(found.syncs, syncs);
  return found.outcome.value;
}

async function makeClone(world: World, session: string): Promise<void> {
  const made = { name: "clone", uuid: randomUUID() };
  await world.references.ephemerals.create({ ...made, session }, async () => {
    const { device } = await world.pool.snapshot({ ...made, origin: "one", ownerUid: self().uid });
    return device;
  });
}

test("a mount waits for its record, and each answer for what it says", async () => {
  const world = await World.begin();
  const { mounts } = world.references;
  const first = await waits(world, 2, () => world.mount(LEASE));
  const one = world.pool.get({ name: "one" });
  await waits(world, 1, () => mounts.create(self(), one, LEASE, () => first.reference));
  const second = await waits(world, 1, () => world.mount());
  await waits(world, 1, () => mounts.renew(first.reference, undefined));
  await waits(world, 1, () => mounts.release(first.reference));
  const letGo = world.kernel.holdMount(second.path);
  const refused = await held(world, () => mounts.release(second.reference));
  assert.deepEqual([refused.outcome.status, refused.syncs], ["rejected", 2]);
  letGo();
  await waits(world, 1, () => mounts.release(second.reference));
  await world.check();
  const third = await world.mount();
  const close = world.kernel.hold(world.pool.get({ name: "one" }).path);
  await waits(world, 2, () => mounts.release(third.reference));
  assert.ok(world.events.includes("device-stays-active"));
  close();
  await world.end();
});

test("what a session holds needs no sync of the session's own: it ends with the boot", async () => {
  const world = await World.begin();
  const holder = { type: "session", session: world.connect(1) } as const;
  await waits(world, 2, () => world.mount({ holder }));
  assert.equal(world.references.store.loadSessions().length, 1);
  await world.end();
});

test("the end of a lease lasts, and that it is being unmounted does before it is", async () => {
  const world = await World.begin();
  await world.mount(LEASE);
  world.clock.advance(LEASE_MS);
  await waits(world, 2, () => world.drive());
  await world.check();
  await world.end();
});

test("so does what the next start finds half done, lost or to be mounted again", async () => {
  const world = await World.begin();
  let boundary = 1;
  const isHalfDone = (): boolean =>
    world.references.store.load().some(({ state }) => state === "mounting");
  while ((await world.mountPoints()).length === 0 || !isHalfDone()) {
    await world.restart();
    assert.equal(await world.dieAt(boundary, () => world.mount()), "died");
    world.kernel.processDeath();
    boundary += 1;
  }
  await waits(world, 1, () => world.restart("stopped"));
  assert.deepEqual(await world.mountPoints(), []);
  const { path } = await world.mount();
  await world.kernel.mounts.unmount(path);
  const one = world.pool.get({ name: "one" });
  await waits(world, 1, () => world.references.mounts.assertNotMounted(one, "remove"));
  assert.deepEqual(world.held(), []);
  const { reference } = await world.mount(LEASE);
  await world.powerOff();
  await waits(world, 3, () => world.start());
  assert.deepEqual(world.held(), [reference]);
  boundary = 1;
  do {
    await world.powerOff();
    assert.equal(await world.dieWhileStarting(boundary), "died");
    world.kernel.processDeath();
    boundary += 1;
  } while ((await world.mountPoints()).length === 0);
  await waits(world, 1, () => world.restart("stopped"));
  assert.deepEqual(world.held(), [reference]);
  await world.check();
  await world.end();
});

test("an ephemeral clone waits for its record, and is kept once that lasts", async () => {
  const world = await World.begin();
  const { ephemerals, sessions } = world.references;
  await waits(world, 1, () => makeClone(world, sessions.begin()));
  const clone = world.pool.get({ name: "clone" });
  const failed = await held(world, () => ephemerals.keep(clone), 1);
  assert.equal(failed.outcome.status, "rejected");
  assert.ok(ephemerals.has(clone.uuid), "it goes as if it had never been asked for");
  await world.restart();
  assert.equal(world.pool.has({ name: "clone" }), true, "the disk has it that it stays");
  await world.pool.remove({ name: "clone" });
  await makeClone(world, world.references.sessions.begin());
  const again = world.pool.get({ name: "clone" });
  await waits(world, 1, () => world.references.ephemerals.keep(again));
  await world.reboot();
  await world.drive();
  assert.equal(world.pool.get({ name: "clone" }).uuid, again.uuid);
  await world.end();
});

test("another device of an ephemeral clone's name is not taken for it after a crash", async () => {
  const world = await World.begin();
  const made = { name: "clone", uuid: randomUUID(), session: world.references.sessions.begin() };
  const cut = await world.references.ephemerals
    .create(made, async () => {
      // Somebody who has no turn of this name takes it, and the daemon dies.
      await world.pool.snapshot({ origin: "two", name: "clone", ownerUid: self().uid });
      await world.dieAt(1, () => world.pool.activate({ name: "clone" }));
      throw new Error("the process has died");
    })
    .catch(() => "died");
  assert.equal(cut, "died");
  await world.restart();
  await world.drive();
  assert.equal(world.pool.has({ name: "clone" }), true);
  assert.deepEqual(world.references.store.loadEphemerals(), []);
  await world.end();
});

test("a power cut loses who held a clone before its mount, not who holds the mount", async () => {
  const world = await World.begin();
  await makeClone(world, world.references.sessions.begin());
  const { reference } = await world.mount(LEASE, "clone");
  await world.reboot();
  await world.drive();
  assert.deepEqual(world.held(), [reference]);
  await world.references.mounts.release(reference);
  assert.equal(world.pool.has({ name: "clone" }), false);
  await world.end();
});

test("a mount of a clone is there, and the clone goes with it, though its maker's share could not be written off", async () => {
  for (const restart of [false, true]) {
    const world = await World.begin();
    const { session, secret } = world.references.sessions.open(self().uid, 1);
    world.references.sessions.keep(session);
    await makeClone(world, session);
    world.refusedWrite = "saveEphemeral";
    const { reference } = await world.mount(LEASE, "clone");
    world.refusedWrite = undefined;
    assert.deepEqual(world.held(), [reference]);
    assert.ok(world.events.includes("ephemeral-not-recorded"));
    if (restart) await world.restart();
    if (restart) assert.ok(world.references.sessions.resume(self().uid, session, secret, 2));
    await world.references.mounts.release(reference);
    assert.equal(world.pool.has({ name: "clone" }), false, "its maker is there still");
    await world.check();
    await world.end();
  }
});

test("a clone that could not be made says why, and is nobody's, though its record could not be taken back", async () => {
  const world = await World.begin();
  const { ephemerals, sessions } = world.references;
  const made = { name: "clone", uuid: randomUUID(), session: sessions.begin() };
  world.refusedWrite = "deleteEphemeral";
  const making = ephemerals.create(made, () => Promise.reject(new Error("over the limit")));
  await assert.rejects(making, /over the limit/);
  assert.equal(ephemerals.size, 0);
  world.refusedWrite = undefined;
  await world.pool.snapshot({ origin: "one", name: "clone", ownerUid: self().uid });
  await world.restart();
  await world.drive();
  assert.equal(world.pool.has({ name: "clone" }), true, "it is another's");
  assert.deepEqual(world.references.store.loadEphemerals(), []);
  await world.end();
});

test("whether a device is an ephemeral clone is found without going over all", async (t) => {
  const world = await World.begin();
  const session = world.connect(1);
  world.references.sessions.keep(session);
  await makeClone(world, session);
  const { ephemerals } = world.references;
  const { uuid } = world.pool.get({ name: "clone" });
  const all = t.mock.method(Map.prototype, "values");
  assert.deepEqual([ephemerals.has(uuid), ephemerals.has(randomUUID())], [true, false]);
  assert.equal(all.mock.callCount(), 0);
  all.mock.restore();
  await world.restart();
  assert.equal(world.references.ephemerals.has(uuid), true);
  world.clock.advance(GRACE_MS);
  await world.drive();
  assert.equal(world.references.ephemerals.has(uuid), false);
  await world.end();
});

test("after a sync that failed nobody holds what nobody was told of, and the next start goes on", async () => {
  const world = await World.begin();
  const first = await world.mount();
  const share = await held(world, () => world.mount(), 1);
  assert.equal(share.outcome.status, "rejected");
  assert.deepEqual(world.held(), [first.reference]);
  await assert.rejects(world.references.mounts.release(first.reference), /the commit to/);
  assert.deepEqual(world.held(), [first.reference]);
  assert.deepEqual(await world.mountPoints(), [first.path], "what was there stays");
  await world.restart();
  const second = await held(world, () => world.mount({}, "two"), 2);
  assert.equal(second.outcome.status, "rejected");
  assert.deepEqual(await world.mountPoints(), [first.path]);
  await world.restart();
  await world.drive();
  await world.check();
  await world.end();
});

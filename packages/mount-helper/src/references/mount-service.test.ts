/** What holders may count on, case by case, on the simulated kernel with clocks that the tests set. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rmdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { MAX_RETRY_MS } from "./retries.ts";
import { GRACE_MS, World, removeFolders, self } from "./world.test.support.ts";

const LEASE_MS = 60_000;
const LEASE = { holder: { type: "lease", ttlMs: LEASE_MS } } as const;

after(removeFolders);

test("two places of one device: each counts, and the device is active until both are gone", async () => {
  const world = await World.begin();
  const { mounts } = world.references;
  const own = await world.mount();
  const folder = await world.mount({ folder: world.place });
  const again = await world.mount({ folder: world.place });
  assert.deepEqual([own.count, folder.count, again.count], [1, 2, 3]);
  assert.equal(again.path, world.place);
  assert.equal((await world.mountPoints()).length, 2, "one place asked for twice is one mount");
  assert.deepEqual(await mounts.release(own.reference), { device: "one", count: 2 });
  assert.deepEqual(await world.mountPoints(), [world.place]);
  assert.deepEqual(await mounts.release(folder.reference), { device: "one", count: 1 });
  assert.deepEqual(await world.mountPoints(), [world.place]);
  assert.equal(world.pool.get({ name: "one" }).active, true);
  assert.deepEqual(await mounts.release(again.reference), { device: "one", count: 0 });
  await world.check();
  assert.deepEqual(await readdir(world.place), [], "a caller's folder stays");
  assert.equal(await mounts.release(again.reference), undefined);
  await world.end();
});

test("one folder is for one device, and a mount is as it was asked for first", async () => {
  const world = await World.begin();
  await world.mount({ folder: world.place });
  await assert.rejects(world.mount({ folder: world.place }, "two"), { code: "BUSY" });
  await assert.rejects(world.mount({ folder: world.place, form: { noExec: true } }), {
    code: "BUSY",
  });
  await assert.rejects(world.mount({ form: { readOnly: true } }), { code: "BUSY" });
  await world.check();
  const two = await world.mount({ form: { readOnly: true, noSymFollow: true } }, "two");
  const info = (await world.kernel.mounts.list()).find(({ mountPoint }) => mountPoint === two.path);
  assert.ok(info !== undefined);
  for (const flag of ["ro", "nosuid", "nodev", "nosymfollow"])
    assert.ok(info.options.includes(flag));
  assert.ok(info.superOptions.includes("noload"));
  await world.end();
});

test("a block device is shared by its holders, never mounted beside, and kept while it is open", async () => {
  const world = await World.begin();
  const { mounts } = world.references;
  const first = await world.mount({ block: true });
  assert.deepEqual([first.block, await world.nodes()], [true, [first.path]]);
  const { path } = world.pool.get({ name: "one" });
  const { blocks } = world.kernel;
  assert.deepEqual(await blocks.number(first.path), await blocks.number(path));
  await assert.rejects(world.mount(), { code: "BUSY" });
  await assert.rejects(world.mount({ block: true, form: { readOnly: true } }), { code: "BUSY" });
  const second = await world.mount({ block: true });
  assert.deepEqual(await mounts.release(first.reference), { device: "one", count: 1 });
  const letGo = world.kernel.hold(first.path);
  await assert.rejects(mounts.release(second.reference), { code: "BUSY" });
  assert.deepEqual(await world.nodes(), [first.path]);
  await world.check();
  letGo();
  assert.deepEqual(await mounts.release(second.reference), { device: "one", count: 0 });
  await world.check();
  await world.mount();
  await assert.rejects(world.mount({ block: true }), { code: "BUSY" });
  world.rules = { ...world.rules, blockDevices: false };
  await assert.rejects(world.mount({ block: true }, "two"), { code: "FORBIDDEN" });
  await world.end();
});

test("a block device whose release fails half way is there, as its holder is told", async () => {
  const world = await World.begin();
  const { mounts } = world.references;
  const { reference, path } = await world.mount({ block: true });
  world.kernel.failNext({ operation: "DM_DEV_STATUS", errno: "ENOMEM" });
  await assert.rejects(mounts.release(reference), { code: "NATIVE_IO" });
  assert.deepEqual(await world.nodes(), [path]);
  await world.check();
  assert.deepEqual(world.held(), [reference]);
  assert.deepEqual(await mounts.release(reference), { device: "one", count: 0 });
  await world.check();
  await world.end();
});

test("a permanent block device is there again after a reboot", async () => {
  const world = await World.begin();
  const { path } = await world.mount({ block: true });
  await world.reboot();
  assert.deepEqual(await world.nodes(), [path]);
  await world.check();
  await world.end();
});

test("a mount that can't come back after a reboot keeps nobody from the device's other places", async () => {
  const world = await World.begin();
  const { reference } = await world.mount({ folder: world.place });
  await rmdir(world.place);
  await world.reboot();
  const { mounts } = world.references;
  assert.deepEqual(
    mounts.list().map(({ state }) => state),
    ["absent"],
  );
  await assert.rejects(mounts.assertNotMounted(world.pool.get({ name: "one" }), "remove"), {
    code: "BUSY",
  });
  await assert.rejects(world.mount({ folder: world.place }), { code: "INVALID_PARAMS" });
  const own = await world.mount();
  assert.deepEqual(await world.mountPoints(), [own.path]);
  assert.deepEqual(await mounts.release(own.reference), { device: "one", count: 1 });
  await mkdir(world.place);
  world.clock.advance(MAX_RETRY_MS);
  await world.drive();
  assert.deepEqual(await world.mountPoints(), [world.place]);
  await world.check();
  assert.deepEqual(await mounts.release(reference), { device: "one", count: 0 });
  await world.check();
  await world.end();
});

test("a block device whose record was lost goes at the next start; one with a record, and others', stay", async () => {
  const world = await World.begin();
  const { path: lost } = await world.mount({ block: true });
  const kept = await world.mount({ block: true }, "two");
  const { blocks } = world.kernel;
  const dev = await blocks.number(lost);
  const root = join(world.parent, "blocks");
  assert.equal(lost, join(root, world.pool.uuid, String(self().uid), "one"));
  const others = [
    join(root, randomUUID(), String(self().uid), "one"),
    // As versions before made them, of whichever pool.
    join(root, String(self().uid), "one"),
  ];
  for (const path of others) await blocks.makeNode(path, { dev, ...self(), mode: 0o600 });
  const { store } = world.references;
  const record = store.load().find(({ deviceName }) => deviceName === "one");
  store.delete(record?.id ?? "");
  await world.restart();
  assert.deepEqual(await world.nodes(), [kept.path, ...others].toSorted());
  assert.ok(world.events.includes("node-without-record-removed"));
  for (const path of others) await blocks.removeNode(path);
  // The device is as it was before: nobody's, and to be had again.
  const again = await world.mount({ block: true });
  assert.equal(again.path, lost);
  await world.references.mounts.releaseAll();
  assert.deepEqual(await readdir(root), [], "a tear-down leaves none of the pool's folders");
  await world.check();
  await world.end();
});

test("folders that are refused: outside the roots, by a symlink, filled, a file, missing, oddly named", async () => {
  const world = await World.begin();
  const { place, parent } = world;
  await symlink(place, join(parent, "link"));
  await mkdir(join(parent, "full"));
  await writeFile(join(parent, "full", "file"), "");
  const refused = async (folder: string): Promise<string> => {
    const error: unknown = await world.mount({ folder }).catch((reason: unknown) => reason);
    return error instanceof Error && "code" in error ? String(error.code) : "mounted";
  };
  assert.equal(await refused("/tmp"), "FORBIDDEN");
  assert.equal(await refused(parent), "FORBIDDEN", "the root itself");
  assert.equal(await refused(join(parent, "link")), "INVALID_PARAMS");
  assert.equal(await refused(join(parent, "full")), "BUSY");
  assert.equal(await refused(join(parent, "full", "file")), "INVALID_PARAMS");
  assert.equal(await refused(join(parent, "none")), "INVALID_PARAMS");
  assert.equal(await refused(`${place}/../place`), "INVALID_PARAMS");
  assert.equal(await refused("place"), "INVALID_PARAMS");
  assert.equal(await refused(`${place}\n`), "INVALID_PARAMS");
  assert.equal(await refused(`${place}\0`), "INVALID_PARAMS");
  await world.check();
  assert.deepEqual(world.held(), []);
  await world.end();
});

test("what the rules do not give is refused: permanent, long and short leases", async () => {
  const world = await World.begin();
  world.rules = { ...world.rules, permanent: false, maxLeaseMs: LEASE_MS, noExec: true };
  await assert.rejects(world.mount(), { code: "FORBIDDEN" });
  const lease = (ttlMs: number): Promise<unknown> =>
    world.mount({ holder: { type: "lease", ttlMs } });
  await assert.rejects(lease(LEASE_MS + 1), { code: "INVALID_PARAMS" });
  await assert.rejects(lease(1), { code: "INVALID_PARAMS" });
  const { reference, path } = await world.mount(LEASE);
  const [info] = await world.kernel.mounts.list();
  assert.ok(info?.mountPoint === path && info.options.includes("noexec"));
  await assert.rejects(world.references.mounts.renew(reference, LEASE_MS + 1), {
    code: "INVALID_PARAMS",
  });
  await world.end();
});

test("a lease ends on time over a restart and a change of the clock, and not before", async () => {
  const world = await World.begin();
  const { reference } = await world.mount(LEASE);
  world.clock.advance(LEASE_MS - 1_000);
  world.clock.setBack(24 * 3_600_000);
  await world.restart();
  await world.drive();
  assert.deepEqual(world.held(), [reference]);
  assert.equal(world.references.mounts.nextDueMs(), 1_000);
  await world.references.mounts.renew(reference, undefined);
  world.clock.setBack(-24 * 3_600_000);
  world.clock.advance(LEASE_MS - 1);
  await world.drive();
  assert.deepEqual(world.held(), [reference]);
  world.clock.advance(1);
  await world.drive();
  assert.deepEqual(world.held(), []);
  await world.check();
  await world.end();
});

test("over a reboot a lease goes on with what the wall clock leaves of it, at most its whole time", async () => {
  const world = await World.begin();
  const { reference } = await world.mount(LEASE);
  world.clock.advance(LEASE_MS / 2);
  await world.reboot();
  assert.equal(world.references.mounts.list()[0]?.leaseLeftMs, LEASE_MS / 2);
  world.clock.setBack(24 * 3_600_000);
  await world.reboot();
  assert.equal(world.references.mounts.list()[0]?.leaseLeftMs, LEASE_MS);
  assert.deepEqual(world.held(), [reference]);
  await world.check();
  world.clock.advance(LEASE_MS);
  await world.drive();
  await world.check();
  assert.deepEqual(world.held(), []);
  await world.end();
});

test("a session lives for its grace period, is resumed by its secret, and taken over from a dead connection", async () => {
  const world = await World.begin();
  const { uid } = self();
  let { sessions } = world.references;
  const { session, secret } = sessions.open(uid, 1);
  const { reference } = await world.mount({ holder: { type: "session", session } });
  sessions.closed(1);
  world.clock.advance(GRACE_MS - 1);
  await world.drive();
  assert.deepEqual(world.held(), [reference]);
  assert.equal(sessions.resume(uid, session, secret, 2), true);
  world.clock.advance(GRACE_MS * 10);
  await world.drive();
  assert.deepEqual(world.held(), [reference]);
  // The old connection is still thought to be there; its end later means nothing.
  assert.equal(sessions.resume(uid, session, secret, 3), true);
  sessions.closed(2);
  world.clock.advance(GRACE_MS * 10);
  await world.drive();
  assert.deepEqual(world.held(), [reference]);
  await world.restart("stopped");
  ({ sessions } = world.references);
  world.clock.advance(GRACE_MS - 1);
  await world.drive();
  assert.equal(sessions.resume(uid + 1, session, secret, 1), false);
  assert.equal(sessions.resume(uid, session, `${secret.slice(1)}A`, 1), false);
  assert.equal(sessions.resume(uid, session, secret, 1), true);
  sessions.closed(1);
  world.clock.advance(GRACE_MS);
  assert.equal(sessions.resume(uid, session, secret, 1), false);
  await world.drive();
  assert.deepEqual(world.held(), []);
  await world.check();
  await world.end();
});

test("a busy mount that nobody holds is waited for, can be held again, and goes when it is free", async () => {
  const world = await World.begin();
  const { mounts } = world.references;
  const { path } = await world.mount(LEASE);
  let letGo = world.kernel.holdMount(path);
  world.clock.advance(LEASE_MS);
  await world.drive();
  const device = world.pool.get({ name: "one" });
  assert.deepEqual(world.held(), []);
  assert.equal(mounts.isReleasing(device.uuid), true);
  assert.deepEqual(await world.mountPoints(), [path]);
  await assert.rejects(mounts.assertNotMounted(device, "remove"), /a process still works in it/);
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 12; attempt += 1) {
    const wait = mounts.nextDueMs() ?? 0;
    waits.push(wait);
    world.clock.advance(wait);
    await world.drive();
  }
  assert.deepEqual(waits.slice(0, 4), [100, 200, 400, 800]);
  assert.equal(waits.at(-1), MAX_RETRY_MS);
  assert.ok(world.events.filter((event) => event === "to-be-tried-again").length >= 12);
  const held = await world.mount();
  assert.equal(mounts.isReleasing(device.uuid), false);
  await world.check();
  await assert.rejects(mounts.release(held.reference), { code: "NATIVE_BUSY" });
  assert.deepEqual(world.held(), [held.reference], "who asks for a busy one's release keeps it");
  letGo();
  await mounts.release(held.reference);
  await world.check();
  await world.mount(LEASE);
  letGo = world.kernel.holdMount(path);
  world.clock.advance(LEASE_MS);
  await world.drive();
  await world.restart();
  await world.drive();
  assert.deepEqual(await world.mountPoints(), [path]);
  letGo();
  world.clock.advance(MAX_RETRY_MS);
  await world.drive();
  await world.check();
  await world.end();
});

test("lazily only by policy, as the last step: then the device goes at its last close", async () => {
  const world = await World.begin();
  world.rules = { ...world.rules, lazyAfterMs: 5_000 };
  const { path } = await world.mount(LEASE);
  const letGo = world.kernel.holdMount(path);
  world.clock.advance(LEASE_MS);
  await world.drive();
  for (let spent = 0; spent < 3_000;) {
    const wait = world.references.mounts.nextDueMs() ?? 0;
    spent += wait;
    world.clock.advance(wait);
    await world.drive();
    assert.deepEqual(await world.mountPoints(), [path]);
  }
  world.clock.advance(MAX_RETRY_MS);
  await world.drive();
  assert.deepEqual(await world.mountPoints(), []);
  assert.ok(world.events.includes("busy-mount-taken-off-lazily"));
  letGo();
  world.clock.advance(MAX_RETRY_MS);
  await world.drive();
  await world.check();
  assert.deepEqual(world.references.store.load(), []);
  await world.end();
});

test("a lease that was given when the policy allowed longer ones is renewed for as long as it allows now", async () => {
  const world = await World.begin();
  const { mounts } = world.references;
  const { reference } = await world.mount(LEASE);
  world.rules = { ...world.rules, maxLeaseMs: LEASE_MS / 2 };
  await assert.rejects(mounts.renew(reference, LEASE_MS), { code: "INVALID_PARAMS" });
  assert.equal((await mounts.renew(reference, undefined))?.leaseLeftMs, LEASE_MS / 2);
  world.clock.advance(LEASE_MS / 2);
  await world.drive();
  await world.check();
  assert.deepEqual(world.held(), []);
  await world.end();
});

test("what was busy before somebody took it up again has all of its time once more", async () => {
  const world = await World.begin();
  world.rules = { ...world.rules, lazyAfterMs: 5_000 };
  const { path } = await world.mount(LEASE);
  const letGo = world.kernel.holdMount(path);
  world.clock.advance(LEASE_MS);
  await world.drive();
  assert.deepEqual(world.held(), []);
  const again = await world.mount(LEASE);
  assert.equal(again.path, path);
  world.clock.advance(LEASE_MS);
  await world.drive();
  assert.deepEqual(world.held(), []);
  assert.deepEqual(await world.mountPoints(), [path], "a process works in it");
  assert.equal(world.events.includes("busy-mount-taken-off-lazily"), false);
  letGo();
  world.clock.advance(MAX_RETRY_MS);
  await world.drive();
  await world.check();
  await world.end();
});

test("a device that can't be deactivated after its last release is finished later", async () => {
  const world = await World.begin();
  const { mounts } = world.references;
  const { reference } = await world.mount();
  const letGo = world.kernel.hold(world.pool.get({ name: "one" }).path);
  assert.deepEqual(await mounts.release(reference), { device: "one", count: 0 });
  assert.ok(world.events.includes("device-stays-active"));
  assert.deepEqual(await world.mountPoints(), []);
  await world.drive();
  letGo();
  world.clock.advance(MAX_RETRY_MS);
  await world.drive();
  await mounts.assertNotMounted(world.pool.get({ name: "one" }), "remove");
  await world.check();
  await world.end();
});

test("an ephemeral clone goes with its last reference, or with its maker before it is mounted", async () => {
  const world = await World.begin();
  const { ephemerals, mounts, sessions } = world.references;
  const uuids: string[] = [];
  const make = async (name: string): Promise<void> => {
    const session = sessions.of(self().uid, 1);
    sessions.keep(session);
    const uuid = randomUUID();
    uuids.push(uuid);
    await ephemerals.create({ name, uuid, session }, async () => {
      const { device } = await world.pool.snapshot({ origin: "one", name, uuid });
      return device;
    });
  };
  await make("a");
  await make("b");
  await world.drive();
  const first = await world.mount(LEASE, "a");
  const second = await world.mount({ folder: world.place, ...LEASE }, "a");
  sessions.closed(1);
  world.clock.advance(GRACE_MS);
  await world.drive();
  assert.equal(world.pool.has({ name: "b" }), false, "never mounted, and its maker is gone");
  await mounts.release(first.reference);
  assert.equal(world.pool.has({ name: "a" }), true);
  await mounts.release(second.reference);
  assert.equal(world.pool.has({ name: "a" }), false);
  assert.deepEqual(world.gone, uuids.toReversed());
  await world.check();
  await world.end();
});

test("a mount that somebody took away by hand loses its record; a strange one is left alone", async () => {
  const world = await World.begin();
  const { path } = await world.mount();
  const kept = await world.mount({}, "two");
  await world.kernel.mounts.unmount(path);
  const { path: source } = world.pool.get({ name: "two" });
  const strange = join(world.parent, "mounts", "strange");
  await world.kernel.mounts.mount({ source, type: "ext4", target: strange, flags: {} });
  await world.restart();
  assert.deepEqual(world.held(), [kept.reference]);
  assert.ok(world.events.includes("mount-without-record-left-alone"));
  assert.deepEqual(await world.mountPoints(), [strange, kept.path].toSorted());
  await world.kernel.mounts.unmount(strange);
  await world.check();
  await world.end();
});

/** A key whose call's result has ended by the time it is sent again: the repetition gives what lives (INV-30). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@thinpool/sdk";
import type { Client } from "@thinpool/sdk";
import type { World } from "./sim-world.ts";
import { world } from "./sim-world.ts";

const KEY = { idempotencyKey: "the-one" };
/** A client that is away is away for longer. */
const GRACE_MS = 1;
const PAUSE_MS = 5;

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(PAUSE_MS);
}

/** A client does it and is away, until nothing is left of what its session held. */
async function doneByOneWhoIsAway<T>(
  w: World,
  witness: Client,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect({ socketPath: w.socketPath });
  const result = await work(client);
  await client.close();
  await until(async () => (await witness.mounts()).length === 0);
  return result;
}

async function assertMounted(w: World, client: Client, mount: MountLike): Promise<void> {
  const { reference, path } = mount;
  assert.deepEqual(
    (await client.mounts()).map((each) => [each.reference, each.path, each.mounted]),
    [[reference, path, true]],
  );
  assert.deepEqual(
    (await w.kernel.mounts.list()).map(({ mountPoint }) => mountPoint),
    [path],
  );
}

type MountLike = Pick<Awaited<ReturnType<Client["mount"]>>, "reference" | "path">;

test("a mount whose session is gone is made anew, once, and its old reference releases nothing", async () => {
  await using w = await world();
  await using daemon = await w.start({ sessionGraceMs: GRACE_MS });
  await using client = await connect(daemon);
  const away = await doneByOneWhoIsAway(w, client, (one) => one.mount({ device: "base", ...KEY }));
  const again = await client.mount({ device: "base", ...KEY });
  await assertMounted(w, client, again);
  assert.notEqual(again.reference, away.reference);
  assert.equal((await client.mount({ device: "base", ...KEY })).reference, again.reference);
  await assert.rejects(client.release({ reference: away.reference }), { code: "NOT_MOUNTED" });
  await assertMounted(w, client, again);
});

test("one that was released is as well, each time under another reference", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await connect(daemon);
  const wish = { device: "base", holder: { type: "lease", ttlMs: 60_000 }, ...KEY } as const;
  const references = new Set<string>();
  for (let time = 0; time < 3; time += 1) {
    const mount = await client.mount(wish);
    await assertMounted(w, client, mount);
    references.add(mount.reference);
    await client.release({ reference: mount.reference });
  }
  assert.equal(references.size, 3);
  await assert.rejects(client.mount({ ...wish, device: "other" }), { code: "KEY_REUSED" });
});

test("one that somebody unmounted by hand is as well", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await connect(daemon);
  const { path, reference } = await client.mount({ device: "base", ...KEY });
  await w.kernel.mounts.unmount(path);
  const again = await client.mount({ device: "base", ...KEY });
  assert.notEqual(again.reference, reference);
  await assertMounted(w, client, again);
});

test("so is a block device, and after a restart of the daemon", async () => {
  await using w = await world();
  const wish = { device: "base", ...KEY };
  {
    await using daemon = await w.start({ sessionGraceMs: GRACE_MS });
    await using client = await connect(daemon);
    await doneByOneWhoIsAway(w, client, (one) => one.activate(wish));
  }
  await using daemon = await w.start();
  await using client = await connect(daemon);
  const disk = await client.activate(wish);
  assert.deepEqual(
    (await client.mounts()).map(({ reference, block }) => [reference, block]),
    [[disk.reference, true]],
  );
});

test("a renewal that is sent again renews what there is, and says so where there is nothing", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await connect(daemon);
  const ttlMs = 60_000;
  const holder = { type: "lease", ttlMs } as const;
  const { reference } = await client.mount({ device: "base", holder });
  const renewing = { reference, ...KEY };
  await client.renew({ ...renewing, ttlMs });
  await client.renew({ reference, ttlMs: ttlMs / 2 });
  const { leaseLeftMs = 0 } = await client.renew({ ...renewing, ttlMs });
  const [left] = (await client.mounts()).map((mount) => mount.leaseLeftMs ?? 0);
  assert.ok(
    leaseLeftMs > ttlMs / 2 && left !== undefined && left > ttlMs / 2,
    `${left} ms are left`,
  );
  await client.release({ reference });
  await assert.rejects(client.renew({ ...renewing, ttlMs }), { code: "NOT_MOUNTED" });
});

test("an ephemeral clone that went with its session is made anew; one that stays is answered as it was", async () => {
  await using w = await world();
  await using daemon = await w.start({ sessionGraceMs: GRACE_MS });
  await using client = await connect(daemon);
  const wish = { origin: "base", name: "clone", ephemeral: true, ...KEY };
  const hasNone = async (): Promise<boolean> => (await client.list()).length === 1;
  await doneByOneWhoIsAway(w, client, (one) => one.clone(wish));
  await until(hasNone);
  const names = async (): Promise<readonly string[]> =>
    (await client.list()).map(({ name }) => name);
  await client.clone(wish);
  const { uuid } = await client.get({ name: "clone" });
  await client.clone(wish);
  assert.equal((await client.get({ name: "clone" })).uuid, uuid);
  const stays = { origin: "base", name: "stays", idempotencyKey: "another" };
  await client.clone(stays);
  await client.remove({ name: "stays" });
  await client.clone(stays);
  assert.deepEqual(await names(), ["base", "clone"], "it was removed on purpose");
});

/**
 * The connection cut right before and right after every message of every method: the client goes on by
 * itself, each change has happened exactly once (INV-30), and the events tell each once.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { connect, hasCode } from "@thinpool/sdk";
import type { Client } from "@thinpool/sdk";
import type { Cut } from "./cutting-proxy.ts";
import { CuttingProxy } from "./cutting-proxy.ts";
import { world } from "./sim-world.ts";

/** Small: in each of some hundred lives a whole device is trimmed. */
const DEVICE_BYTES = 2n << 20n;

/**
 * Transactions of the pool that `life` takes: create, clone, two snapshots at once, the revert's new
 * content in and its old one out, four removals.
 */
const TRANSACTIONS = 9n;

/** What `life` does to devices, each thing once. */
const EVENTS = [
  "created made",
  "created copy",
  "activated copy",
  "deactivated copy",
  // As a block device.
  "activated copy",
  "deactivated copy",
  "created copy-then",
  "created made-then",
  "renamed copied",
  "resized copied",
  // The revert gives it the snapshot's size.
  "resized copied",
  "removed copy-then",
  "removed made-then",
  "removed copied",
  "removed made",
];

/** Every method once at least, each answer checked: done twice, or not at all, it would be another. */
async function life(client: Client): Promise<void> {
  const { devices } = client;
  const { transactionId } = await client.status();
  const { value: beginning } = await client.events().next();
  await client.create({ name: "made", sizeBytes: DEVICE_BYTES, filesystem: "ext4" });
  await client.clone({ origin: "made", name: "copy" });
  assert.deepEqual(
    (await client.list()).map(({ name }) => name),
    ["base", "copy", "made"],
  );
  assert.equal((await client.get({ name: "copy" })).sizeBytes, DEVICE_BYTES);
  const first = await client.mount({ device: "copy" });
  const second = await client.mount({ device: "copy" });
  assert.deepEqual(
    (await client.mounts()).map(({ count }) => count),
    [2, 2],
  );
  assert.ok((await devices.trim({ name: "copy" })) >= 0n);
  assert.equal((await client.forecast()).monitored, true);
  for await (const { kind } of devices.changedBlocks({ name: "copy", from: "made" })) {
    assert.fail(`nothing was written, but there is a range that was ${kind}`);
  }
  assert.deepEqual((await client.pool.check()).findings, []);
  assert.equal((await client.pool.backup({ keep: 1 })).transactionId, transactionId + 2n);
  const dataBytes = (await client.status()).dataTotalBytes + (1n << 20n);
  assert.equal((await client.pool.extend({ dataBytes })).dataBytes, dataBytes);
  await assert.rejects(client.activate({ device: "copy" }), { code: "BUSY" });
  const { reference } = first;
  assert.deepEqual(await client.release({ reference }), { device: "copy", count: 1 });
  assert.deepEqual(await second.release(), { device: "copy", count: 0 });
  assert.deepEqual(await client.mounts(), []);
  const disk = await client.activate({ device: "copy" });
  assert.deepEqual(await disk.release(), { device: "copy", count: 0 });
  const names = ["copy", "made"].map((origin) => ({ origin, name: `${origin}-then` }));
  const then = await devices.snapshotMany({ snapshots: names });
  assert.deepEqual(
    then.devices.map(({ name }) => name),
    ["copy-then", "made-then"],
  );
  assert.equal((await devices.rename({ name: "copy", to: "copied" })).name, "copied");
  const labels = { team: "storage" };
  assert.deepEqual((await devices.update({ name: "copied", labels })).labels, labels);
  const sizeBytes = 2n * DEVICE_BYTES;
  assert.equal((await devices.resize({ name: "copied", sizeBytes })).device.sizeBytes, sizeBytes);
  const before = await client.get({ name: "copied" });
  const back = await devices.revert({ name: "copied", snapshot: "copy-then" });
  assert.deepEqual([back.uuid, back.sizeBytes], [before.uuid, DEVICE_BYTES]);
  assert.notEqual(back.thinId, before.thinId);
  const lifetimeMs = 3_600_000;
  const { id } = await client.rights.createConnectToken({ lifetimeMs });
  const tokens = await client.rights.connectTokens();
  assert.deepEqual(
    tokens.map((token) => token.id),
    [id],
  );
  await client.rights.revokeToken({ id });
  assert.deepEqual(await client.rights.connectTokens(), []);
  for (const name of ["copy-then", "made-then"]) await client.remove({ name });
  await client.remove({ name: "copied" });
  await client.remove({ name: "made" });
  assert.deepEqual(
    (await client.list()).map(({ name }) => name),
    ["base"],
  );
  assert.equal((await client.status()).transactionId, transactionId + TRANSACTIONS);
  const happened: string[] = [];
  for await (const event of client.events({ after: beginning.number })) {
    if ("name" in event) happened.push(`${event.type.replace("device-", "")} ${event.name}`);
    if (happened.at(-1) === "removed made") break;
  }
  assert.deepEqual(happened, EVENTS);
}

test("cut at every message of every method", async (t) => {
  await using w = await world();
  await using daemon = await w.start();
  await using proxy = await CuttingProxy.listen(daemon.socketPath, {
    path: join(w.parent, "proxy"),
  });
  const { socketPath } = proxy;
  const run = async (cut: Cut | undefined): Promise<void> => {
    await using client = await connect({ socketPath });
    proxy.arm(cut);
    await life(client);
  };
  await run(undefined);
  const { seen } = proxy;
  const totals = { ...seen };
  assert.equal(totals["to-daemon"], totals["to-client"]);
  for (const direction of ["to-daemon", "to-client"] as const) {
    for (let index = 0; index < totals[direction]; index += 1) {
      for (const when of ["before", "after"] as const) {
        await run({ index, direction, when });
        assert.equal(proxy.cuts, 1, `cut ${when} message ${index} ${direction}`);
      }
    }
  }
  assert.deepEqual(await w.kernel.mounts.list(), []);
  t.diagnostic(`${4 * totals["to-daemon"]} cuts`);
});

test("without a key a change in flight at the cut fails with its own code, and is not repeated", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using proxy = await CuttingProxy.listen(daemon.socketPath, {
    path: join(w.parent, "proxy"),
  });
  await using client = await connect({ socketPath: proxy.socketPath });
  const create = (name: string) =>
    client.create({ name, sizeBytes: DEVICE_BYTES, idempotencyKey: false });
  proxy.arm({ index: 0, direction: "to-daemon", when: "before" });
  await assert.rejects(create("never"), (error) => hasCode(error, "CONNECTION_LOST"));
  proxy.arm({ index: 0, direction: "to-client", when: "before" });
  // The hello of the new connection may come first: so the state is waited for.
  while (client.state !== "connected") await new Promise((resolve) => setTimeout(resolve, 5));
  proxy.arm({ index: 0, direction: "to-client", when: "before" });
  await assert.rejects(create("once"), (error) => hasCode(error, "CONNECTION_LOST"));
  assert.deepEqual(
    (await client.list()).map(({ name }) => name),
    ["base", "once"],
  );
});

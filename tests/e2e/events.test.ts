/**
 * Events over cuts at every message, over restarts, and at a reader's own pace: none is missing and none
 * comes twice.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "@thinpool/sdk";
import type { Client, PoolEvent } from "@thinpool/sdk";
import type { Cut } from "./cutting-proxy.ts";
import { CuttingProxy } from "./cutting-proxy.ts";
import type { World } from "./sim-world.ts";
import { world } from "./sim-world.ts";

/** "created copy", and "state" where that came instead. */
function told(event: PoolEvent): string {
  if (event.type === "state") return `state: ${event.because}`;
  return "name" in event ? `${event.type.replace("device-", "")} ${event.name}` : event.type;
}

async function last(client: Client): Promise<number> {
  for await (const event of client.events()) {
    assert.ok(event.type === "state");
    return event.number;
  }
  return assert.fail("the events ended");
}

/** What happens from `begin` on, up to the removal of the device "end". */
async function untilEnd(client: Client, begin: number): Promise<readonly string[]> {
  const seen: string[] = [];
  let number = begin;
  for await (const event of client.events({ after: begin })) {
    seen.push(told(event));
    assert.ok(event.number > number, `${event.number} after ${number}`);
    number = event.number;
    if (event.type === "device-removed" && event.name === "end") break;
  }
  return seen;
}

async function happen(client: Client): Promise<void> {
  for (const name of ["one", "two", "end"]) {
    await using clone = await client.clone({ origin: "base", name });
    assert.equal(clone.name, name);
  }
}

const HAPPENED = ["one", "two", "end"].flatMap((name) => [`created ${name}`, `removed ${name}`]);

async function proxyTo(w: World): Promise<CuttingProxy> {
  return CuttingProxy.listen(w.socketPath, { path: join(w.parent, "proxy") });
}

test("cut at each message of a reader", async (t) => {
  await using w = await world();
  await using daemon = await w.start();
  await using writer = await w.connect();
  await using proxy = await proxyTo(w);
  let cuts = 0;
  const run = async (cut: Cut | undefined): Promise<void> => {
    await using client = await connect({ socketPath: proxy.socketPath });
    const begin = await last(client);
    proxy.arm(cut);
    const [seen] = await Promise.all([untilEnd(client, begin), happen(writer)]);
    assert.deepEqual(seen, HAPPENED, `cut ${JSON.stringify(cut)}`);
    cuts += proxy.cuts;
    // There may have been fewer messages: the next connection is not meant.
    proxy.arm(undefined);
  };
  assert.equal(daemon.socketPath, w.socketPath);
  await run(undefined);
  for (const direction of ["to-daemon", "to-client"] as const) {
    for (const when of ["before", "after"] as const) {
      // As many messages as the events came in: up to one each, and fewer where they came together.
      for (let index = 0; index < HAPPENED.length; index += 1) {
        await run({ index, direction, when });
      }
    }
  }
  t.diagnostic(`${cuts} cuts`);
  assert.ok(cuts >= HAPPENED.length);
});

test("the daemon is restarted: what came before comes first, then the state, then what happens", async () => {
  await using w = await world();
  let daemon = await w.start();
  await using client = await w.connect();
  await using writer = await w.connect();
  const begin = await last(client);
  await writer.clone({ origin: "base", name: "early" });
  const events = client.events({ after: begin });
  const next = async (): Promise<PoolEvent> => (await events.next()).value;
  assert.equal(told(await next()), "created early");
  const waiting = next();
  await daemon.stop();
  daemon = await w.start();
  const state = await waiting;
  assert.ok(state.type === "state" && state.because === "restart");
  assert.deepEqual(
    state.devices.map(({ name }) => name),
    ["base", "early"],
  );
  await writer.clone({ origin: "base", name: "late" });
  assert.equal(told(await next()), "created late");
  await writer.remove({ name: "late" });
  assert.equal(told(await next()), "removed late");
  await daemon.stop();
});

test("a reader that takes his time misses nothing; its signal and its client's end are told", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using client = await w.connect();
  const slow = client.events();
  const first = (await slow.next()).value;
  assert.equal(first.type, "state");
  await happen(client);
  await happen(client);
  const seen: string[] = [];
  while (seen.length < 2 * HAPPENED.length) seen.push(told((await slow.next()).value));
  assert.deepEqual(seen, [...HAPPENED, ...HAPPENED]);
  const stop = new AbortController();
  const stopped = client.events({ after: first.number + 12, signal: stop.signal }).next();
  stop.abort(new Error("enough"));
  await assert.rejects(stopped, { code: "ABORTED" });
  const ended = assert.rejects(slow.next(), { code: "CLIENT_CLOSED" });
  await client.close();
  await ended;
  assert.equal(daemon.socketPath, w.socketPath);
});

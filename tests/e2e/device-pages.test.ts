/** More devices than a page has, through the daemon: in pages, all at once, and as the events' state. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import type { MethodParams, MethodResult } from "@thinpool/protocol";
import {
  MAX_DEVICES_PER_PAGE,
  SUBPROTOCOL,
  encodeRequest,
  parseResponse,
  parseResult,
} from "@thinpool/protocol";
import type { Client } from "@thinpool/sdk";
import { startTestingDaemon } from "@thinpool/sdk/testing";
import { WebSocket } from "ws";

const MANY = MAX_DEVICES_PER_PAGE + 50;
const AT_ONCE = 50;
const nameOf = (index: number): string => `d${index.toString().padStart(4, "0")}`;

async function many(client: Client): Promise<void> {
  for (let first = 0; first < MANY; first += AT_ONCE) {
    const some = Array.from({ length: AT_ONCE }, (_, index) => nameOf(first + index));
    await Promise.all(some.map((name) => client.clone({ origin: "base", name })));
  }
}

test("all, in pages and at once, while some come and go", { timeout: 120_000 }, async () => {
  await using daemon = await startTestingDaemon({ images: [{ name: "base", filesystem: "none" }] });
  await using client = await daemon.connect();
  await many(client);
  const names = async (): Promise<readonly string[]> =>
    (await client.list()).map(({ name }) => name);
  const all = ["base", ...Array.from({ length: MANY }, (_, index) => nameOf(index))];
  assert.deepEqual(await names(), all);

  const socket = new WebSocket(`ws+unix:${daemon.socketPath}:/`, [SUBPROTOCOL]);
  await once(socket, "message");
  const ask = async (params: MethodParams<"device.list">): Promise<MethodResult<"device.list">> => {
    socket.send(encodeRequest(1, "device.list", params));
    const [data] = (await once(socket, "message")) as [Buffer];
    const parsed = parseResponse(data.toString());
    assert.ok(parsed.ok && "result" in parsed.value);
    const result = parseResult("device.list", parsed.value.result);
    assert.ok(result.ok);
    return result.value;
  };
  const whole = await ask({});
  assert.ok(Array.isArray(whole), "who asks for no page gets what he always got");
  assert.deepEqual(
    whole.map(({ name }) => name),
    all,
  );
  const page = await ask({ limit: 3, after: nameOf(MANY - 5) });
  assert.ok(!Array.isArray(page));
  const last = [MANY - 4, MANY - 3, MANY - 2].map(nameOf);
  assert.deepEqual([page.devices.map(({ name }) => name), page.next], [last, last.at(-1)]);
  const end = await ask({ limit: 3, after: nameOf(MANY - 2) });
  assert.ok(!Array.isArray(end));
  assert.deepEqual([end.devices.length, "next" in end], [1, false]);
  const behind = await ask({ after: nameOf(MANY - 3) });
  assert.ok(Array.isArray(behind));
  assert.deepEqual(behind.length, 2);
  socket.close();

  const next = await client.events().next();
  assert.ok(next.value.type === "state");
  assert.deepEqual(
    next.value.devices.map(({ name }) => name),
    all,
  );

  // Every second one goes while the list is asked for again and again: the others are always in it.
  const going = all.slice(1).filter((_, index) => index % 2 === 0);
  const stays = all.filter((name) => !going.includes(name));
  const state = { over: false };
  const changing = (async () => {
    for (const [index, name] of going.entries()) {
      await client.remove({ name });
      if (index % 10 === 0) await client.clone({ origin: "base", name: `${name}-new` });
    }
    state.over = true;
  })();
  let lists = 0;
  while (!state.over) {
    const seen = await names();
    assert.equal(new Set(seen).size, seen.length);
    const isSeen = new Set(seen);
    assert.deepEqual(
      stays.filter((name) => !isSeen.has(name)),
      [],
    );
    lists += 1;
  }
  await changing;
  assert.ok(lists > 3, `${lists} lists while it changed`);
});

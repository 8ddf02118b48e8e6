/** Without root or device-mapper: against the daemon that the SDK brings for tests. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { startTestingDaemon } from "@thinpool/sdk/testing";
import { endScratch, openScratch, renewScratch } from "./scratch.ts";

const LONG_MS = 60_000;
const SHORT_MS = 1000;
const GONE_WITHIN_MS = 20_000;

test("an agent's tree is there until its time has passed", async () => {
  await using daemon = await startTestingDaemon();
  const options = { image: "base", agent: "a1", ttlMs: LONG_MS };
  {
    await using client = await daemon.connect();
    const path = await openScratch(client, options);
    assert.equal(await openScratch(client, options), path, "opened again it is the same");
  }
  {
    await using client = await daemon.connect();
    assert.ok(await renewScratch(client, { agent: "a1", ttlMs: SHORT_MS }), "without a client");
  }
  await using client = await daemon.connect();
  const deadline = performance.now() + GONE_WITHIN_MS;
  while ((await client.list()).length > 1 && performance.now() < deadline) await setTimeout(50);
  assert.equal((await client.list()).length, 1, "the image alone is left");
  assert.equal(await renewScratch(client, { agent: "a1", ttlMs: LONG_MS }), undefined);
});

test("it can be ended early, and each agent has its own", async () => {
  await using daemon = await startTestingDaemon();
  await using client = await daemon.connect();
  const first = await openScratch(client, { image: "base", agent: "a1", ttlMs: LONG_MS });
  const second = await openScratch(client, { image: "base", agent: "a2", ttlMs: LONG_MS });
  assert.notEqual(first, second);
  await endScratch(client, "a1");
  await endScratch(client, "a1");
  assert.equal(await renewScratch(client, { agent: "a1", ttlMs: LONG_MS }), undefined);
  assert.equal(await renewScratch(client, { agent: "a2", ttlMs: LONG_MS }), second);
});

/** Calls that take as long as the pool is large: no limit but their caller's, who ends the tool as well. */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { test } from "node:test";
import { connect } from "@thinpool/sdk";
import type { World } from "./sim-world.ts";
import { world } from "./sim-world.ts";

/** Of the client, for each of its calls. */
const LIMIT_MS = 100;
/** Several times as long. */
const LONG_MS = 400;

interface Tool {
  /** Of each run, in order: it is killed by it. */
  readonly signals: AbortSignal[];
  /** The runs wait for it. */
  until: Promise<unknown>;
}

/** thin_check as a program that takes its time. */
function slowCheck({ kernel }: World): Tool {
  const tools = kernel.metadataTools;
  const check = tools.check.bind(tools);
  const tool: Tool = { signals: [], until: Promise.resolve() };
  tools.check = async (options) => {
    const { signal } = options;
    assert.ok(signal !== undefined);
    tool.signals.push(signal);
    const killed = Promise.withResolvers<never>();
    signal.addEventListener("abort", () => killed.reject(signal.reason));
    await Promise.race([tool.until, killed.promise]);
    return check(options);
  };
  return tool;
}

async function untilKilled({ signals }: Tool, run: number): Promise<void> {
  while (signals[run]?.aborted !== true) await delay(5);
}

test("a check goes on past the client's common limit to its end", { timeout: 30_000 }, async () => {
  await using w = await world();
  await using _daemon = await w.start();
  const tool = slowCheck(w);
  tool.until = delay(LONG_MS);
  await using client = await connect({ socketPath: w.socketPath, timeoutMs: LIMIT_MS });
  const beganAt = performance.now();
  assert.equal((await client.pool.check({ mappings: true })).metadata, "clean");
  assert.ok(performance.now() - beganAt > LIMIT_MS);
});

test("its signal, its own limit and its going away end the tool", { timeout: 30_000 }, async () => {
  await using w = await world();
  await using _daemon = await w.start();
  const tool = slowCheck(w);
  tool.until = new Promise(() => undefined);
  const client = await connect({ socketPath: w.socketPath });
  const enough = new AbortController();
  const given = client.pool.check({ signal: enough.signal });
  while (tool.signals.length === 0) await delay(5);
  enough.abort();
  await assert.rejects(given, { code: "ABORTED" });
  await untilKilled(tool, 0);
  await assert.rejects(client.pool.check({ timeoutMs: LIMIT_MS }), { code: "TIMEOUT" });
  await untilKilled(tool, 1);
  const left = client.pool.check();
  while (tool.signals.length < 3) await delay(5);
  await Promise.all([assert.rejects(left, { code: "CLIENT_CLOSED" }), client.close()]);
  await untilKilled(tool, 2);
  // The metadata snapshot is free again.
  tool.until = Promise.resolve();
  await using other = await w.connect();
  assert.equal((await other.pool.check()).metadata, "clean");
});

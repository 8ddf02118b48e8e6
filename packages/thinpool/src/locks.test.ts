import assert from "node:assert/strict";
import { test } from "node:test";
import { Limiter } from "./limiter.ts";
import { KeyedLocks, type LockRequest, MAX_QUEUED_OPERATIONS } from "./locks.ts";

/** Operations that say when they run, and run until they are let go. */
class Runs {
  readonly locks = new KeyedLocks();
  readonly running: string[] = [];
  readonly #gates = new Map<string, () => void>();
  readonly ended: Promise<void>[] = [];

  start(name: string, request: LockRequest, signal?: AbortSignal): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gates.set(name, resolve);
    const run = async (): Promise<void> => {
      this.running.push(name);
      await promise;
      this.running.splice(this.running.indexOf(name), 1);
    };
    this.ended.push(this.locks.run(name, request, run, signal));
  }

  async let(name: string): Promise<readonly string[]> {
    this.#gates.get(name)?.();
    await new Promise((resolve) => setImmediate(resolve));
    return this.running;
  }
}

test("operations on other keys run side by side, on the same one after another, in order", async () => {
  const runs = new Runs();
  runs.start("a1", { exclusive: ["a"] });
  runs.start("a2", { exclusive: ["a"] });
  runs.start("b1", { exclusive: ["b"] });
  assert.deepEqual(await runs.let(""), ["a1", "b1"]);
  assert.deepEqual(await runs.let("a1"), ["b1", "a2"]);
  await runs.let("a2");
  await runs.let("b1");
  await Promise.all(runs.ended);
  assert.equal(runs.locks.length, 0);
});

test("shared ones run together; one that wants it alone waits for those before and stops those after", async () => {
  const runs = new Runs();
  runs.start("read-1", { shared: ["a"] });
  runs.start("read-2", { shared: ["a"] });
  runs.start("write", { exclusive: ["a"] });
  runs.start("read-3", { shared: ["a"] });
  assert.deepEqual(await runs.let(""), ["read-1", "read-2"]);
  assert.deepEqual(await runs.let("read-2"), ["read-1"]);
  assert.deepEqual(await runs.let("read-1"), ["write"]);
  assert.deepEqual(await runs.let("write"), ["read-3"]);
  await runs.let("read-3");
});

test("two that want each other's keys don't wait for ever", async () => {
  const runs = new Runs();
  runs.start("first", { shared: ["a"], exclusive: ["b"] });
  runs.start("second", { shared: ["b"], exclusive: ["a"] });
  assert.deepEqual(await runs.let(""), ["first"]);
  assert.deepEqual(await runs.let("first"), ["second"]);
  await runs.let("second");
});

test("one that is aborted while it waits makes room for those behind it", async () => {
  const runs = new Runs();
  const abort = new AbortController();
  runs.start("reader", { shared: ["a"] });
  runs.start("writer", { exclusive: ["a"] }, abort.signal);
  runs.start("behind", { shared: ["a"] });
  assert.deepEqual(await runs.let(""), ["reader"]);
  const [, writer] = runs.ended;
  assert.ok(writer !== undefined);
  abort.abort();
  await assert.rejects(writer, { name: "AbortError" });
  assert.deepEqual(await runs.let(""), ["reader", "behind"]);
  await runs.let("reader");
  await runs.let("behind");
});

test("one that fails lets the next in; a full queue answers at once, and takes more when it has emptied", async () => {
  const locks = new KeyedLocks();
  const gate = Promise.withResolvers<void>();
  const failing = locks.run("op", { exclusive: ["a"] }, () => Promise.reject(new Error("mine")));
  const waiting = Array.from({ length: MAX_QUEUED_OPERATIONS - 1 }, () =>
    locks.run("op", { exclusive: ["a"] }, () => gate.promise),
  );
  const one = { exclusive: ["b"] };
  await assert.rejects(
    locks.run("op", one, () => Promise.resolve()),
    { code: "POOL_OVERLOADED" },
  );
  await assert.rejects(failing, /mine/);
  gate.resolve();
  await Promise.all(waiting);
  await locks.run("op", one, () => Promise.resolve());
});

test("a limiter runs so many at a time, and all in the end", async () => {
  const limiter = new Limiter(2);
  let running = 0;
  let most = 0;
  const run = (fails: boolean): Promise<void> =>
    limiter.run(async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
      if (fails) throw new Error("mine");
    });
  const results = await Promise.allSettled([
    run(false),
    run(true),
    run(false),
    run(true),
    run(false),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled", "rejected", "fulfilled"],
  );
  assert.equal(most, 2);
});

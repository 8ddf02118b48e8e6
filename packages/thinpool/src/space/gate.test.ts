import assert from "node:assert/strict";
import { test } from "node:test";
import { Gate } from "./gate.ts";

test("many pass together, one alone, and none overtakes who waits to be alone", async () => {
  const gate = new Gate();
  const log: string[] = [];
  const steps = new Map<string, () => void>();
  const body = (name: string) => (): Promise<void> => {
    log.push(`+${name}`);
    return new Promise((resolve) => {
      steps.set(name, () => {
        log.push(`-${name}`);
        resolve();
      });
    });
  };
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const all = [
    gate.together(body("a")),
    gate.together(body("b")),
    gate.alone(body("swap")),
    gate.together(body("c")),
  ];
  await settle();
  assert.deepEqual(log, ["+a", "+b"]);
  steps.get("a")?.();
  await settle();
  assert.deepEqual(log, ["+a", "+b", "-a"]);
  steps.get("b")?.();
  await settle();
  steps.get("swap")?.();
  await settle();
  steps.get("c")?.();
  await Promise.all(all);
  assert.deepEqual(log, ["+a", "+b", "-a", "-b", "+swap", "-swap", "+c", "-c"]);
});

test("a failure lets the next one in", async () => {
  const gate = new Gate();
  const failing = gate.alone(() => Promise.reject(new Error("no")));
  const next = gate.together(() => Promise.resolve("in"));
  await assert.rejects(failing, /no/);
  assert.equal(await next, "in");
});

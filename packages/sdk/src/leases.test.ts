import assert from "node:assert/strict";
import { test } from "node:test";
import { Leases } from "./leases.ts";

const DAY_MS = 86_400_000;

test("a lease that is renewed by hand while its own renewal is on its way is renewed once in its time", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const renewals: PromiseWithResolvers<undefined>[] = [];
  const leases = new Leases(() => {
    const renewal = Promise.withResolvers<undefined>();
    renewals.push(renewal);
    return renewal.promise;
  });
  leases.keep("a", 3_000);
  t.mock.timers.tick(1_000);
  assert.equal(renewals.length, 1);
  leases.keep("a", 3_000);
  renewals[0]?.resolve(undefined);
  await new Promise((resolve) => setImmediate(resolve));
  t.mock.timers.tick(1_000);
  assert.equal(renewals.length, 2);
  leases.drop("a");
});

test("a lease of years is not renewed all the time", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let renewals = 0;
  const leases = new Leases(() => {
    renewals += 1;
    return Promise.resolve();
  });
  // As long as a policy can let a lease be. A real timer of that length ends at once.
  leases.keep("a", 3_650 * DAY_MS);
  t.mock.timers.tick(24 * DAY_MS);
  assert.equal(renewals, 0);
  t.mock.timers.tick(1 * DAY_MS);
  assert.equal(renewals, 1, "before the longest time that a timer knows is over");
  leases.drop("a");
});

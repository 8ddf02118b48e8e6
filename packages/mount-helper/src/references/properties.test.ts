/**
 * Any run of mounting, releasing, renewing, connections that come and go, time, busy mounts, restarts
 * and reboots: who holds what is as a simple model says, and the kernel has exactly the mounts that
 * somebody holds.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import * as fc from "fast-check";
import { GRACE_MS, World, removeFolders, self } from "./world.test.support.ts";

const RUNS = 60;
const STEPS = 25;
const LEASE_MS = 60_000;
const CONNECTIONS = [1, 2] as const;

after(removeFolders);

interface Held {
  readonly holder: "session" | "lease" | "permanent";
  readonly session: string | undefined;
  endsInMs: number;
}

interface Session {
  readonly id: string;
  readonly secret: string;
  connection: number | undefined;
  endsInMs: number;
}

/** What a user would expect, in so many words. */
class Model {
  readonly held = new Map<string, Held>();
  readonly sessions = new Map<string, Session>();

  ofConnection(connection: number): Session | undefined {
    return Array.from(this.sessions.values()).find((each) => each.connection === connection);
  }

  close(connection: number): void {
    const session = this.ofConnection(connection);
    if (session === undefined) return;
    session.connection = undefined;
    session.endsInMs = GRACE_MS;
  }

  pass(ms: number): void {
    for (const held of this.held.values()) if (held.holder === "lease") held.endsInMs -= ms;
    for (const session of this.sessions.values()) {
      if (session.connection === undefined) session.endsInMs -= ms;
    }
    this.#end();
  }

  restart(): void {
    for (const session of this.sessions.values()) {
      session.connection = undefined;
      session.endsInMs = GRACE_MS;
      // One that never held anything is not remembered.
    }
  }

  reboot(): void {
    this.sessions.clear();
    this.#end();
  }

  #end(): void {
    for (const [id, { connection, endsInMs }] of this.sessions) {
      if (connection === undefined && endsInMs <= 0) this.sessions.delete(id);
    }
    for (const [id, held] of this.held) {
      const lost = held.session !== undefined && !this.sessions.has(held.session);
      if (lost || (held.holder === "lease" && held.endsInMs <= 0)) this.held.delete(id);
    }
  }
}

type Step =
  | {
      readonly do: "mount";
      readonly holder: Held["holder"];
      readonly folder: boolean;
      readonly two: boolean;
      readonly by: number;
    }
  | { readonly do: "release" | "renew"; readonly pick: number }
  | { readonly do: "connect" | "close" | "resume"; readonly by: number; readonly pick: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "set-clock" | "restart" | "kill" | "reboot" };

const by = fc.constantFrom(...CONNECTIONS);
const pick = fc.nat(100);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("mount" as const),
      holder: fc.constantFrom("session" as const, "lease" as const, "permanent" as const),
      folder: fc.boolean(),
      two: fc.boolean(),
      by,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom("release" as const, "renew" as const), pick }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("connect" as const, "close" as const, "resume" as const),
      by,
      pick,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      ms: fc.integer({ min: 1, max: LEASE_MS }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "set-clock" as const,
        "restart" as const,
        "kill" as const,
        "reboot" as const,
      ),
    }),
  },
);

async function take(world: World, model: Model, action: Step): Promise<void> {
  const { mounts, sessions } = world.references;
  switch (action.do) {
    case "mount": {
      const { holder, folder, two } = action;
      const own = model.ofConnection(action.by);
      if (holder === "session" && own === undefined) return;
      const session = holder === "session" ? own?.id : undefined;
      const wish = {
        holder:
          holder === "session"
            ? { type: holder, session: session ?? "" }
            : holder === "lease"
              ? { type: holder, ttlMs: LEASE_MS }
              : { type: holder },
        folder: folder ? world.place : undefined,
      };
      const name = two ? "two" : "one";
      const taken = mounts
        .list()
        .some(({ path, device }) => path === world.place && device !== name);
      if (folder && taken) {
        await assert.rejects(world.mount(wish, name), { code: "BUSY" });
        return;
      }
      const { reference } = await world.mount(wish, name);
      model.held.set(reference, { holder, session, endsInMs: LEASE_MS });
      return;
    }
    case "release": {
      const id = nth([...model.held.keys()], action.pick);
      if (id === undefined) return;
      const device = mounts.deviceOf(id);
      const before = mounts.list().filter((each) => each.device === device).length;
      assert.deepEqual(await mounts.release(id), { device, count: before - 1 });
      model.held.delete(id);
      return;
    }
    case "renew": {
      const id = nth([...model.held.keys()], action.pick);
      const held = id === undefined ? undefined : model.held.get(id);
      if (id === undefined || held === undefined) return;
      const renewed = await mounts.renew(id, undefined);
      assert.equal(renewed !== undefined, held.holder === "lease");
      if (held.holder === "lease") held.endsInMs = LEASE_MS;
      return;
    }
    case "connect": {
      model.close(action.by);
      const { session, secret } = sessions.open(self().uid, action.by);
      model.sessions.set(session, {
        id: session,
        secret,
        connection: action.by,
        endsInMs: GRACE_MS,
      });
      return;
    }
    case "close":
      sessions.closed(action.by);
      model.close(action.by);
      return;
    case "resume": {
      const session = nth([...model.sessions.values()], action.pick);
      if (session === undefined) return;
      const wrong = [session.secret.slice(1), session.secret.toUpperCase(), ""];
      for (const secret of wrong.filter((each) => each !== session.secret)) {
        assert.equal(sessions.resume(self().uid, session.id, secret, action.by), false);
      }
      assert.equal(sessions.resume(self().uid + 1, session.id, session.secret, action.by), false);
      const resumed = sessions.resume(self().uid, session.id, session.secret, action.by);
      const holds = [...model.held.values()].some((held) => held.session === session.id);
      assert.ok(resumed || !holds, "what holds something can be resumed");
      if (!resumed || session.connection === action.by) return;
      model.close(action.by);
      session.connection = action.by;
      return;
    }
    case "wait":
      world.clock.advance(action.ms);
      model.pass(action.ms);
      return;
    case "set-clock":
      world.clock.setBack(LEASE_MS * 10);
      return;
    case "restart":
    case "kill":
      await world.restart(action.do === "kill" ? "killed" : "stopped");
      model.restart();
      return;
    case "reboot":
      await world.reboot();
      model.reboot();
  }
}

function nth<T>(items: readonly T[], index: number): T | undefined {
  return items.length === 0 ? undefined : items[index % items.length];
}

test(`any run of ${STEPS} steps (${RUNS} runs)`, async () => {
  const run = fc.asyncProperty(
    fc.array(step, { minLength: 5, maxLength: STEPS }),
    async (steps) => {
      // A clock that was set back before a reboot may lengthen a lease: up to its whole time, once more.
      const reboot = steps.findLastIndex((each) => each.do === "reboot");
      fc.pre(!steps.slice(0, Math.max(0, reboot)).some((each) => each.do === "set-clock"));
      const world = await World.begin();
      const model = new Model();
      for (const action of steps) {
        await take(world, model, action);
        await world.drive();
        assert.deepEqual(world.held().toSorted(), [...model.held.keys()].toSorted());
        await world.check();
      }
      await world.end();
    },
  );
  await fc.assert(run, { numRuns: RUNS });
});

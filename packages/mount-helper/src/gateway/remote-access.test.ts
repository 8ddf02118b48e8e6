import assert from "node:assert/strict";
import { closeSync } from "node:fs";
import { test } from "node:test";
import { jsonLogger } from "../log.ts";
import type { Principal } from "../policy/policy.ts";
import type { ConnectToken } from "../policy/rights-store.ts";
import type { Origin } from "../server/back.ts";
import { DISMISSAL_MS, NOTES_PER_SECOND } from "./limits.ts";
import { RemoteAccess } from "./remote-access.ts";

const SECRET = "s".repeat(43);
/** No account: its groups are none, whatever this machine's files say. */
const UID = 3_999_999;

interface World {
  readonly remote: RemoteAccess;
  readonly accepted: { readonly principal: Principal; readonly origin: Origin }[];
  readonly dismissed: number[];
  readonly log: string[];
  token: ConnectToken | undefined;
  policyAllows: boolean;
  hasRoom: boolean;
}

function world(creatorUid: number): World {
  const log: string[] = [];
  const w: World = {
    accepted: [],
    dismissed: [],
    log,
    token: { id: "t1", uid: UID, creatorUid, createdAtMs: 0, expiresAtMs: 1 },
    policyAllows: true,
    hasRoom: true,
    remote: new RemoteAccess({
      book: {
        connectTokenOf: (secret) => (secret === SECRET ? w.token : undefined),
        connectTokenById: () => w.token,
      },
      access: { decide: () => ({ allowed: w.policyAllows, rule: "x" }) },
      back: {
        accept: (principal, socket, origin) => {
          assert.ok(origin !== undefined);
          w.accepted.push({ principal, origin });
          socket.destroy();
          if (!w.hasRoom) origin.ended?.();
          return w.hasRoom ? w.accepted.length : undefined;
        },
        dismiss: (connection) => void w.dismissed.push(connection),
      },
      logger: jsonLogger((line) => log.push(line)),
      frontsAreHere: false,
    }),
  };
  return w;
}

async function admit(w: World, cut: () => void = () => undefined): Promise<boolean> {
  const descriptor = await w.remote.admit(SECRET, "192.0.2.7", cut);
  if (descriptor !== undefined) closeSync(descriptor);
  return descriptor !== undefined;
}

test("whoever shows a token is its user, without a process here", async () => {
  const w = world(0);
  assert.ok(await admit(w));
  const [{ principal, origin } = assert.fail()] = w.accepted;
  assert.deepEqual([principal.uid, principal.pid, principal.groups], [UID, 0, []]);
  assert.equal(origin.token, "t1");
  assert.equal(await w.remote.admit("x".repeat(43), "192.0.2.7", () => undefined), undefined);
  assert.equal(w.accepted.length, 1);
  assert.ok(!w.log.join("").includes(SECRET));
  w.remote.close();
});

test("one's own token opens as long as the policy lets one have it, root's always", async () => {
  const own = world(UID);
  assert.ok(await admit(own));
  own.policyAllows = false;
  assert.equal(await admit(own), false);
  own.remote.close();
  const roots = world(0);
  roots.policyAllows = false;
  assert.ok(await admit(roots));
  roots.remote.close();
});

test("a token that ends while its user is looked up opens nothing", async () => {
  const w = world(0);
  const asked = admit(w);
  w.token = undefined;
  assert.equal(await asked, false);
  w.remote.close();
});

test("who is dismissed and does not go is cut, who goes is not, nor who found no room", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const w = world(0);
  const cuts: string[] = [];
  await admit(w, () => cuts.push("stays"));
  await admit(w, () => cuts.push("goes"));
  w.hasRoom = false;
  await admit(w, () => cuts.push("was refused"));
  w.remote.endStale();
  assert.deepEqual(w.dismissed, []);
  w.token = undefined;
  w.remote.endStale();
  w.remote.endStale();
  assert.deepEqual(w.dismissed, [1, 2]);
  w.accepted[1]?.origin.ended?.();
  t.mock.timers.tick(DISMISSAL_MS);
  assert.deepEqual(cuts, ["stays"]);
  w.remote.close();
});

test("whoever knocks does not fill the log", () => {
  const w = world(0);
  for (let count = 0; count < 100 * NOTES_PER_SECOND; count += 1) w.remote.note("no TLS", "::1");
  assert.ok(w.log.length >= NOTES_PER_SECOND && w.log.length < 3 * NOTES_PER_SECOND);
  w.remote.close();
});

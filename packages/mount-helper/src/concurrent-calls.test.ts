/**
 * Calls of several users at one moment, by the way that every call takes: turns, keys, quotas, handlers, and
 * the reaper among them; connections end, time passes, and the daemon dies half way. When all is quiet there is
 * a mount where there is a reference and nowhere else, nobody has more than he may, what was told is so, and a
 * restart changes nothing.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { MethodName } from "@thinpool/protocol";
import { checkRequest, parseResponse, parseResult } from "@thinpool/protocol";
import type { Caller } from "./caller.ts";
import { Dispatcher } from "./dispatch.ts";
import { RequestError } from "./errors.ts";
import type { HandlerParts } from "./handlers/index.ts";
import { makeHandlers } from "./handlers/index.ts";
import { KeyStore } from "./idempotency/key-store.ts";
import { KeyedCalls } from "./idempotency/keyed-calls.ts";
import { recognitionRules } from "./idempotency/rules.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import type { Logger } from "./log.ts";
import { Access } from "./policy/access.ts";
import type { LivePolicy } from "./policy/live-policy.ts";
import { RightsBook } from "./policy/rights-book.ts";
import { RightsStore } from "./policy/rights-store.ts";
import { EMPTY_RULE } from "./policy/rights.ts";
import { Reaper } from "./references/reaper.ts";
import { GRACE_MS, World, removeFolders, self } from "./references/world.test.support.ts";

/** Hundreds more were tried when this was written, some with calls of the kernel that fail. */
const SEEDS = 16;
const BATCHES = 5;
const MOST_CALLS = 18;
const MOST = 6;
const MAX_LEASE_MS = 52_000;
const NAMES = ["a", "b", "c"] as const;
/** Who mounts in folders of other users has to be root. */
const UIDS = self().uid === 0 ? [1000, 1001] : [self().uid];
const RULE = { ...EMPTY_RULE, name: "all", users: "all", create: true, clonePublic: true } as const;
const LIVE = {
  current: { rules: [{ ...RULE, blockDevices: true, limits: { devices: MOST, mounts: MOST } }] },
} as unknown as LivePolicy;
const QUIET: Logger = { log: () => undefined };

after(removeFolders);

/** Numerical Recipes' generator: a seed replays its run. */
class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }

  oneIn(sides: number): boolean {
    return this.below(sides) === 0;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)] ?? assert.fail("there is none");
  }
}

interface Connection {
  readonly number: number;
  readonly uid: number;
  readonly calls: AbortController[];
}

class Run {
  readonly #dice: Dice;
  readonly #world: World;
  #book: RightsBook | undefined;
  #keys: KeyStore | undefined;
  #dispatcher: Dispatcher | undefined;
  #reaper: Reaper | undefined;
  #connections: Connection[] = [];
  #lastConnection = 0;
  #lastCall = 0;
  /** References that somebody was told of. */
  readonly #told = new Set<string>();
  deaths = 0;

  constructor(dice: Dice, world: World) {
    this.#dice = dice;
    this.#world = world;
  }

  start(): void {
    const { pool, parent, references, rules } = this.#world;
    const { mounts, sessions } = references;
    const queue = new KeyedQueue();
    const book = new RightsBook(new RightsStore(join(parent, "rights.sqlite")));
    const keys = new KeyStore(join(parent, "keys.sqlite"));
    const referenceHolder = (id: string): number | undefined => mounts.holderOf(id);
    const access = new Access({ pool, live: LIVE, book, referenceHolder });
    const parts = {
      ...references,
      pool,
      access,
      book,
      rulesFor: () => rules,
      inTurn: (...turn: Parameters<KeyedQueue["run"]>) => queue.run(...turn),
      connectTokenEnded: () => undefined,
      stopping: new AbortController().signal,
    } as unknown as HandlerParts;
    const keyed = new KeyedCalls({
      poolUuid: pool.uuid,
      store: keys,
      recognise: recognitionRules(parts),
      logger: QUIET,
    });
    keyed.recover();
    this.#book = book;
    this.#keys = keys;
    this.#dispatcher = new Dispatcher({
      handlers: makeHandlers(parts),
      keyed,
      access,
      deviceOfReference: (id) => mounts.deviceOf(id),
      queue,
      logger: QUIET,
    });
    this.#reaper = new Reaper({
      service: mounts,
      sessions,
      inTurn: (device, task) => queue.run(device, "end of references", task),
      logger: QUIET,
    });
    this.#connections = [];
    for (const uid of UIDS) this.#connect(uid);
  }

  async stop(): Promise<void> {
    await this.#keys?.settled();
    this.#keys?.close();
    this.#book?.close();
  }

  async batch(): Promise<void> {
    const { held, dice } = { held: this.#world.held(), dice: this.#dice };
    const dies = dice.oneIn(3);
    const givenUp = new Set<string>();
    this.#reaper?.start();
    const work = async (): Promise<void> => {
      const calls: Promise<void>[] = [];
      for (let count = 3 + dice.below(MOST_CALLS); count > 0; count -= 1) {
        calls.push(this.#call(dies, givenUp));
        for (let turns = dice.oneIn(3) ? dice.below(6) : 0; turns > 0; turns -= 1)
          await setImmediate();
        // What a death must leave is known only where nothing ends by itself.
        if (!dies) this.#happen();
      }
      await Promise.all(calls);
      await this.#reaper?.stop();
    };
    const died = dies && (await this.#world.dieAt(1 + dice.below(250), work)) === "died";
    if (!dies) await work();
    if (died) {
      this.deaths += 1;
      await this.#restart("killed");
      const left = this.#world.held();
      for (const reference of [...held, ...this.#told].filter((id) => !givenUp.has(id)))
        assert.ok(left.includes(reference), `${reference} was told of, and is lost`);
      // The answers may have been lost with the daemon.
      for (const reference of left) this.#told.add(reference);
    }
    await this.#world.drive();
    await this.#check();
    if (!died && dice.oneIn(3)) {
      const before = [this.#world.held().toSorted(), this.#devices()];
      await this.#restart(dice.of(["killed", "stopped"]));
      const now = [this.#world.held().toSorted(), this.#devices()];
      assert.deepEqual(now, before, "a restart changes nothing");
    }
  }

  /** All connections have ended, and all leases. */
  async end(): Promise<void> {
    for (const connection of [...this.#connections]) this.#disconnect(connection);
    this.#world.clock.advance(GRACE_MS + MAX_LEASE_MS);
    await this.#world.drive();
    assert.deepEqual(this.#world.held(), []);
    assert.deepEqual(this.#world.references.store.loadEphemerals(), []);
    assert.ok(this.#world.pool.list().every(({ active }) => !active));
    await this.stop();
    await this.#world.end();
  }

  async #restart(how: "killed" | "stopped"): Promise<void> {
    await this.stop();
    await this.#world.restart(how);
    this.start();
  }

  #connect(uid: number): void {
    this.#lastConnection += 1;
    this.#connections.push({ number: this.#lastConnection, uid, calls: [] });
    this.#world.references.sessions.open(uid, this.#lastConnection);
  }

  /** As the back does it. */
  #disconnect(connection: Connection): void {
    this.#connections = this.#connections.filter((each) => each !== connection);
    for (const call of connection.calls) call.abort();
    this.#world.references.sessions.closed(connection.number);
  }

  #happen(): void {
    const dice = this.#dice;
    const connection = dice.of(this.#connections);
    if (dice.oneIn(12)) connection.calls.at(-1)?.abort();
    if (dice.oneIn(10)) this.#world.clock.advance(dice.below(GRACE_MS));
    if (!dice.oneIn(14)) return;
    this.#disconnect(connection);
    this.#connect(connection.uid);
  }

  async #call(dies: boolean, givenUp: Set<string>): Promise<void> {
    const { method, params } = this.#wish();
    if (method === "mount.release") givenUp.add(String(params["reference"]));
    this.#lastCall += 1;
    const request = checkRequest({ id: this.#lastCall, method, params });
    assert.ok(request.ok, `${method} ${JSON.stringify(params)}`);
    const dispatcher = this.#dispatcher ?? assert.fail();
    const answer = parseResponse(await dispatcher.answer(request.value, this.#caller()));
    assert.ok(answer.ok);
    if ("error" in answer.value) {
      const { code } = answer.value.error.data;
      assert.ok(dies || code !== "INTERNAL", `${method} ${JSON.stringify(params)}`);
      return;
    }
    if (method !== "mount.create" && method !== "device.activate") return;
    const mount = parseResult(method, answer.value.result);
    assert.ok(mount.ok);
    this.#told.add(mount.value.reference);
  }

  #wish(): { readonly method: MethodName; readonly params: Record<string, unknown> } {
    const dice = this.#dice;
    const name = dice.of(NAMES);
    const other = dice.of([...NAMES, "one", "one"].filter((each) => each !== name));
    const reference = dice.of([...this.#told, randomUUID()]);
    const ttlMs = 2_000 + dice.below(MAX_LEASE_MS - 2_000);
    const holder = dice.of([{ type: "session" }, { type: "lease", ttlMs }]);
    const [sizeBytes, larger] = [String(16 << 20), String(32 << 20)];
    const snapshots = [
      { origin: other, name },
      { origin: other, name: dice.of(NAMES) },
    ];
    const [method, params] = dice.of<readonly [MethodName, Record<string, unknown>]>([
      ["device.create", { name, sizeBytes }],
      ["device.clone", { origin: other, name, ephemeral: dice.oneIn(2) }],
      ["device.clone", { origin: "one", name, ephemeral: true }],
      ["device.remove", { name }],
      ["device.rename", { name, to: other }],
      ["device.snapshotMany", { snapshots }],
      ["device.revert", { name, snapshot: other }],
      ["device.resize", { name, sizeBytes: larger }],
      ["device.import", { name, sizeBytes }],
      ["device.export", { name }],
      ["mount.create", { device: name, holder }],
      ["mount.create", { device: name, holder }],
      ["device.activate", { name, holder }],
      ["mount.release", { reference }],
      ["mount.renew", { reference }],
      ["device.list", {}],
    ]);
    const hasKey = method !== "device.list" && dice.oneIn(3);
    const key = { idempotencyKey: `k${dice.below(8)}-${Math.floor(this.#lastCall / 20)}` };
    return { method, params: hasKey ? { ...params, ...key } : params };
  }

  #caller(): Caller {
    const dice = this.#dice;
    const { number, uid, calls } = dice.of(this.#connections);
    const canceller = new AbortController();
    calls.push(canceller);
    return {
      principal: { uid, gid: uid, pid: process.pid, groups: [] },
      connection: number,
      signal: canceller.signal,
      giveUp: (reason) => canceller.abort(reason),
      worker: {
        identity: { uid, gid: uid },
        transfer: async () => {
          for (let turns = dice.below(20); turns > 0; turns -= 1) await setImmediate();
          if (dice.oneIn(3)) {
            const about = { operation: "stream", object: "the stream", reason: "it is cut" };
            throw new RequestError({ ...about, code: "STREAM_LOST" });
          }
          const sha256 = "0".repeat(64);
          return { ok: true, entries: 1, streamBytes: 1, sha256, reduced: 0 };
        },
      },
    };
  }

  #devices(): readonly string[] {
    const all = this.#world.pool.list();
    return all.map((each) => [each.name, each.uuid, each.ownerUid, each.sizeBytes].join(" "));
  }

  async #check(): Promise<void> {
    const { mounts, store } = this.#world.references;
    const devices = this.#world.pool.list();
    const records = store.load();
    assert.ok(
      records.every(({ state, references }) => state === "mounted" && references.length > 0),
    );
    const places = records.filter(({ place }) => place !== "block").map(({ target }) => target);
    assert.deepEqual(await this.#world.mountPoints(), places.toSorted());
    const nodes = records.filter(({ place }) => place === "block").map(({ target }) => target);
    assert.deepEqual(await this.#world.nodes(), nodes.toSorted());
    for (const { name, uuid, active } of devices) {
      assert.equal(
        active,
        records.some(({ deviceUuid }) => deviceUuid === uuid),
        name,
      );
      assert.doesNotMatch(name, /^export-/, "it goes with its call");
    }
    for (const { deviceName, deviceUuid } of store.loadEphemerals())
      assert.ok(devices.some(({ name, uuid }) => name === deviceName && uuid === deviceUuid));
    for (const uid of UIDS) {
      assert.ok(devices.filter(({ ownerUid }) => ownerUid === uid).length <= MOST);
      assert.ok(mounts.countsOf(uid).references <= MOST);
    }
    const held = new Set(this.#world.held());
    for (const reference of held) assert.ok(this.#told.has(reference), "nobody was told of it");
    for (const reference of this.#told) if (!held.has(reference)) this.#told.delete(reference);
  }
}

test(`users' calls at one moment, deaths among them (${SEEDS} seeds)`, async (t) => {
  let deaths = 0;
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    try {
      const world = await World.begin();
      world.rules = { ...world.rules, blockDevices: true };
      const image = world.pool.get({ name: "one" }).uuid;
      const book = new RightsBook(new RightsStore(join(world.parent, "rights.sqlite")));
      await book.setPublic(image, true);
      book.close();
      const run = new Run(new Dice(seed), world);
      run.start();
      for (let batch = 0; batch < BATCHES; batch += 1) await run.batch();
      await run.end();
      deaths += run.deaths;
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
  t.diagnostic(`${deaths} deaths`);
});

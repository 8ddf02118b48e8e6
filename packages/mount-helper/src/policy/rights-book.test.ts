import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { withHeldSyncs } from "../held-syncs.test.support.ts";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import type { TokenUse } from "./rights-book.ts";
import { MAX_CONNECT_TOKENS, MAX_TOKENS_PER_UID, RightsBook } from "./rights-book.ts";
import { RightsStore } from "./rights-store.ts";

const folder = mkdtempSync(join(MEMORY_FOLDER, "thinpool-rights-"));
after(() => rmSync(folder, { recursive: true }));

const HOUR_MS = 3_600_000;
let files = 0;

function fresh(): { readonly path: string; readonly book: RightsBook } {
  files += 1;
  const path = join(folder, `rights-${files}.sqlite`);
  return { path, book: new RightsBook(new RightsStore(path)) };
}

async function make(
  book: RightsBook,
  more: { uid?: number; lifetimeMs?: number } = {},
): Promise<string> {
  const { secret } = await book.createToken({
    id: randomUUID(),
    deviceUuid: "device",
    creatorUid: 1000,
    allow: ["clone"],
    uid: more.uid,
    expiresAtMs: Date.now() + (more.lifetimeMs ?? HOUR_MS),
  });
  return secret;
}

function use(secret: string, more: Partial<TokenUse> = {}): TokenUse {
  return { secret, deviceUuid: "device", verb: "clone", uid: 1001, ...more };
}

test("a token does what it says and nothing else", async () => {
  const { book } = fresh();
  const secret = await make(book, { uid: 1001 });
  assert.match(secret, /^[A-Za-z0-9_-]{43}$/);
  assert.ok(book.tokenFor(use(secret)) !== undefined);
  assert.equal(book.tokenFor(use(secret, { deviceUuid: "another" })), undefined);
  assert.equal(book.tokenFor(use(secret, { verb: "mount-read-only" })), undefined);
  assert.equal(book.tokenFor(use(secret, { uid: 1002 })), undefined);
  const [first = ""] = secret;
  assert.equal(book.tokenFor(use(`${first === "A" ? "B" : "A"}${secret.slice(1)}`)), undefined);
  assert.notEqual(await make(book), await make(book));
  book.close();
});

test("replayed after revocation, expiry or the device's end it does nothing", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const { book } = fresh();
  const revoked = await make(book);
  const id = book.tokenFor(use(revoked))?.id ?? assert.fail();
  await book.revoke(id);
  assert.equal(book.tokenFor(use(revoked)), undefined);
  const expired = await make(book, { lifetimeMs: 1_000 });
  t.mock.timers.tick(999);
  assert.ok(book.tokenFor(use(expired)) !== undefined);
  t.mock.timers.tick(1);
  assert.equal(book.tokenFor(use(expired)), undefined);
  const orphaned = await make(book);
  await book.setPublic("device", true);
  book.forgetDevice("device");
  assert.equal(book.tokenFor(use(orphaned)), undefined);
  assert.equal(book.isPublic("device"), false);
  assert.deepEqual(book.tokens(), []);
  book.close();
});

test("tokens and public images outlive the daemon; the secret is nowhere on disk", async () => {
  const { path, book } = fresh();
  const secret = await make(book);
  await book.setPublic("image", true);
  book.close();
  const again = new RightsBook(new RightsStore(path));
  assert.ok(again.tokenFor(use(secret)) !== undefined);
  assert.equal(again.isPublic("image"), true);
  for (const name of readdirSync(folder)) {
    const bytes = readFileSync(join(folder, name));
    assert.equal(bytes.includes(secret), false, name);
    assert.equal(bytes.includes(Buffer.from(secret, "base64url")), false, name);
  }
  await again.setPublic("image", false);
  again.close();
  assert.equal(new RightsBook(new RightsStore(path)).isPublic("image"), false);
});

test("one user makes so many tokens, and expired ones do not count", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const { book } = fresh();
  for (let count = 0; count < MAX_TOKENS_PER_UID; count += 1)
    await make(book, { lifetimeMs: 1_000 });
  await assert.rejects(make(book), { code: "LIMIT" });
  t.mock.timers.tick(1_000);
  await make(book);
  assert.equal(book.tokens().length, 1);
  book.close();
});

async function makeConnect(
  book: RightsBook,
  more: { uid?: number; creatorUid?: number; lifetimeMs?: number } = {},
): Promise<{ readonly id: string; readonly secret: string }> {
  const { uid = 1000, creatorUid = 0, lifetimeMs = HOUR_MS } = more;
  const expiresAtMs = Date.now() + lifetimeMs;
  const made = await book.createConnectToken({ id: randomUUID(), uid, creatorUid, expiresAtMs });
  return { id: made.token.id, secret: made.secret };
}

test("a token to connect by stands for its user until its end, and is none for a device", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const { path, book } = fresh();
  const { secret, id } = await makeConnect(book, { uid: 1001, lifetimeMs: 1_000 });
  const other = await makeConnect(book, { uid: 1002 });
  assert.equal(book.connectTokenOf(secret)?.uid, 1001);
  assert.equal(book.connectTokenOf(other.secret)?.uid, 1002);
  assert.equal(book.tokenFor(use(secret)), undefined);
  assert.equal(book.connectTokenOf(await make(book)), undefined);
  assert.equal(
    book.connectTokenOf(`${secret.slice(0, -1)}${secret.endsWith("A") ? "E" : "A"}`),
    undefined,
  );
  book.close();
  for (const name of readdirSync(folder)) {
    assert.equal(readFileSync(join(folder, name)).includes(secret), false, name);
  }
  const again = new RightsBook(new RightsStore(path));
  assert.equal(again.connectTokenOf(secret)?.id, id);
  t.mock.timers.tick(1_000);
  assert.equal(again.connectTokenOf(secret), undefined);
  assert.equal(again.connectTokenById(id), undefined);
  await again.revoke(other.id);
  assert.equal(again.connectTokenOf(other.secret), undefined);
  assert.deepEqual(again.connectTokens(), []);
  again.close();
  const last = new RightsBook(new RightsStore(path));
  assert.equal(last.connectTokenOf(other.secret), undefined);
  last.close();
});

test("one user makes so many tokens to connect by, and all together so many", async () => {
  const { book } = fresh();
  for (let count = 0; count < MAX_CONNECT_TOKENS; count += 1) {
    await makeConnect(book, { creatorUid: 1000 + Math.trunc(count / MAX_TOKENS_PER_UID) });
    if (count !== MAX_TOKENS_PER_UID - 1) continue;
    await assert.rejects(makeConnect(book, { creatorUid: 1000 }), { code: "LIMIT" });
  }
  await assert.rejects(makeConnect(book, { creatorUid: 5 }), { code: "LIMIT" });
  book.close();
});

test("a file from before there were tokens to connect by gets room for them", async () => {
  const { path, book } = fresh();
  const secret = await make(book);
  book.close();
  const database = new DatabaseSync(path);
  database.exec("DROP TABLE connect_tokens; PRAGMA user_version = 1;");
  database.close();
  const again = new RightsBook(new RightsStore(path));
  assert.ok(again.tokenFor(use(secret)) !== undefined);
  assert.equal(again.connectTokenOf((await makeConnect(again)).secret)?.uid, 1000);
  again.close();
});

test("nobody is told of a right that is given or taken before that lasts", async () => {
  const { path, book } = fresh();
  const waits = async <T>(syncs: number, work: () => Promise<T>): Promise<T> => {
    const found = await withHeldSyncs({ of: path, look: () => book.tokens().length }, work);
    if (found.outcome.status === "rejected") throw found.outcome.reason;
    assert.equal(found.syncs, syncs);
    return found.outcome.value;
  };
  const secret = await waits(1, () => make(book));
  const id = book.tokenFor(use(secret))?.id ?? assert.fail();
  const connect = await waits(1, () => makeConnect(book));
  for (const each of [id, connect.id]) await waits(1, () => book.revoke(each));
  for (const isPublic of [true, false]) await waits(1, () => book.setPublic("image", isPublic));
  await book.setPublic("image", true);
  // What is left of it gives nobody anything.
  await waits(0, async () => book.forgetDevice("image"));
  book.close();
});

test("where it is not known whether a right lasts, it is not given, and not said to be taken", async () => {
  const failing = async (
    work: (book: RightsBook) => Promise<unknown>,
    prepare: (book: RightsBook) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<RightsBook> => {
    const { path, book } = fresh();
    await prepare(book);
    const options = { of: path, look: () => 0, failing: 1 };
    assert.equal((await withHeldSyncs(options, () => work(book))).outcome.status, "rejected");
    return book;
  };
  const published = await failing((book) => book.setPublic("image", true));
  assert.equal(published.isPublic("image"), false);
  let id = "";
  const revoked = await failing(
    (book) => book.revoke(id),
    async (book) => {
      const secret = await make(book);
      ({ id } = book.tokenFor(use(secret)) ?? assert.fail());
    },
  );
  assert.throws(() => revoked.tokenById(id), /the commit to/);
  for (const book of [published, revoked]) book.close();
});

test("at the limit a call that is repeated replaces what it made, and is not one more", async () => {
  const { book } = fresh();
  const expiresAtMs = Date.now() + HOUR_MS;
  const token = {
    deviceUuid: "device",
    creatorUid: 1000,
    allow: ["clone"],
    uid: undefined,
  } as const;
  const connect = { uid: 1000, creatorUid: 1000 };
  for (let made = 0; made < MAX_TOKENS_PER_UID; made += 1) {
    const id = `${made}`;
    await book.createToken({ ...token, id, expiresAtMs });
    await book.createConnectToken({ ...connect, id, expiresAtMs });
  }
  // Its answer was lost, so it is asked for again, with the same key.
  const last = { id: String(MAX_TOKENS_PER_UID - 1), expiresAtMs };
  const { secret } = await book.createToken({ ...token, ...last });
  assert.equal(book.tokenFor(use(secret))?.id, last.id);
  const again = await book.createConnectToken({ ...connect, ...last });
  assert.equal(book.connectTokenOf(again.secret)?.id, last.id);
  assert.deepEqual(
    [book.tokens().length, book.connectTokens().length],
    [MAX_TOKENS_PER_UID, MAX_TOKENS_PER_UID],
  );
  const more = { id: "more", expiresAtMs };
  await assert.rejects(book.createToken({ ...token, ...more }), { code: "LIMIT" });
  await assert.rejects(book.createConnectToken({ ...connect, ...more }), { code: "LIMIT" });
  book.close();
});

/** The daemon over TCP with TLS, on the simulated kernel: its own clients, and others. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createConnection, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import type { TLSSocket } from "node:tls";
import type { Daemon } from "@thinpool/mount-helper";
import { connect } from "@thinpool/sdk";
import type { CertificateFiles } from "./certificate.ts";
import { makeCertificate } from "./certificate.ts";
import { world } from "./sim-world.ts";
import type { Remote } from "./tcp-world.ts";
import { HOUR_MS, ORIGIN, remote } from "./tcp-world.ts";

/** Of the gateway's limits, which the tests here wait for. */
const UPGRADE_TIMEOUT_MS = 5_000;
const MAX_HALF_OPEN_PER_ADDRESS = 16;
const MAX_HEADER_BYTES = 8 * 1024;
const FAILED_TOKENS_PER_SECOND = 5;
const WRONG = "A".repeat(43);

async function dialTls(r: Remote): Promise<TLSSocket> {
  const socket = connectTls({ host: "127.0.0.1", port: r.port, ca: r.certificate.certificate });
  socket.on("error", () => {
    // "close" follows.
  });
  await once(socket, "secureConnect");
  return socket;
}

/** Sends an upgrade request with these headers. */
async function requestUpgrade(r: Remote, headers: readonly string[]): Promise<TLSSocket> {
  const socket = await dialTls(r);
  const lines = [
    "GET / HTTP/1.1",
    "Host: daemon",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ...headers,
  ];
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  return socket;
}

/** The same; the answer's first line. */
async function upgrade(r: Remote, headers: readonly string[]): Promise<string> {
  const socket = await requestUpgrade(r, headers);
  const [data] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  return data.toString("utf8").split("\r\n")[0] ?? "";
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `not within the time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a token's bearer is who it stands for, and does all that a local client does", async () => {
  await using r = await remote();
  const { id, secret } = await r.token();
  await using client = await r.connect(secret);
  const who = await client.rights.whoAmI();
  assert.equal(who.uid, process.getuid?.());
  assert.deepEqual(who, await r.local.rights.whoAmI());
  await using clone = await client.clone({ origin: "base", name: "one" });
  await assert.rejects(clone.mount({ folder: r.world.parent }), { code: "UNSUPPORTED" });
  await using mount = await clone.mount();
  assert.equal((await r.local.mounts())[0]?.reference, mount.reference);
  assert.equal(r.events("audit").find((line) => line["method"] === "device.clone")?.["token"], id);
  const listed = await client.rights.connectTokens();
  assert.deepEqual(
    listed.map((token) => token.id),
    [id],
  );
  assert.ok(!JSON.stringify(listed).includes(secret));
});

test("no token, a wrong one, one for a device, an expired one: UNAUTHORIZED, and not in the log", async () => {
  await using r = await remote();
  const unauthorized = { code: "UNAUTHORIZED" };
  await assert.rejects(connect({ url: r.url, ca: r.certificate.certificate }), unauthorized);
  await assert.rejects(r.connect(WRONG), unauthorized);
  await assert.rejects(r.connect("short"), { code: "ARGUMENT_INVALID" });
  const ofDevice = await r.local.rights.createToken({
    device: "base",
    allow: ["clone"],
    lifetimeMs: HOUR_MS,
  });
  await assert.rejects(r.connect(ofDevice.secret), unauthorized);
  const short = await r.token(1_000);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await assert.rejects(r.connect(short.secret), unauthorized);
  const log = r.world.log.join("");
  for (const secret of [WRONG, ofDevice.secret, short.secret]) assert.ok(!log.includes(secret));
  assert.ok(r.events("tcp-refused").length >= 4);
});

test("a token that is revoked ends its connections and no others, and lets nobody in again", async () => {
  await using r = await remote();
  const one = await r.token();
  const other = await r.token();
  const client = await r.connect(one.secret);
  await using stays = await r.connect(other.secret);
  const states: string[] = [];
  client.onState((state) => states.push(state));
  await r.local.rights.revokeToken({ id: one.id });
  await until("gone", () => client.state === "gone");
  assert.deepEqual(states, ["gone"]);
  await assert.rejects(client.rights.whoAmI(), { code: "UNAUTHORIZED" });
  await assert.rejects(r.connect(one.secret), { code: "UNAUTHORIZED" });
  assert.equal((await stays.rights.whoAmI()).uid, process.getuid?.());
  await client.close();
});

test("a token's end ends its connections, also one whose client does not say goodbye", async () => {
  await using r = await remote();
  const { secret } = await r.token(1_500);
  const client = await r.connect(secret);
  const socket = await requestUpgrade(r, [
    "Sec-WebSocket-Protocol: thinpool.v1",
    `Authorization: Bearer ${secret}`,
  ]);
  socket.resume();
  const closed = once(socket, "close");
  await until("gone", () => client.state === "gone");
  await closed;
  assert.equal(r.events("tcp-dismissed").length, 2);
  await client.close();
});

test("who has come by a token makes no further ones", async () => {
  await using r = await remote();
  await using client = await r.connect((await r.token()).secret);
  await assert.rejects(client.rights.createConnectToken({ lifetimeMs: HOUR_MS }), {
    code: "FORBIDDEN",
  });
});

test("a browser shows its token as a subprotocol; only pages of the listed origin may", async () => {
  await using r = await remote();
  const { secret } = await r.token();
  const offered = `Sec-WebSocket-Protocol: thinpool.v1, thinpool.token.${secret}`;
  assert.match(await upgrade(r, [offered, `Origin: ${ORIGIN}`]), / 101 /);
  assert.match(await upgrade(r, [offered, "Origin: https://elsewhere.example.org"]), / 403 /);
  assert.match(await upgrade(r, [offered, `Origin: ${ORIGIN}.evil.org`]), / 403 /);
  assert.match(await upgrade(r, [offered, "Origin: null"]), / 403 /);
  assert.match(await upgrade(r, [offered, `Authorization: Bearer ${secret}`]), / 400 /);
  assert.match(await upgrade(r, [`Authorization: Bearer ${secret}`]), / 400 /);
  assert.match(await upgrade(r, ["Sec-WebSocket-Protocol: thinpool.v1"]), / 401 /);
  assert.ok(!r.world.log.join("").includes(secret));
});

test("too many wrong tokens of one address: 429, and soon again 401", async () => {
  await using r = await remote();
  const wrong = ["Sec-WebSocket-Protocol: thinpool.v1", `Authorization: Bearer ${WRONG}`];
  const answers: string[] = [];
  for (let tried = 0; tried < 3 * FAILED_TOKENS_PER_SECOND; tried += 1) {
    answers.push(await upgrade(r, wrong));
  }
  assert.ok(answers.some((line) => line.includes(" 401 ")));
  assert.ok(answers.some((line) => line.includes(" 429 ")));
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  assert.match(await upgrade(r, wrong), / 401 /);
});

test("what is no TLS, no upgrade, or too long is refused; others are served meanwhile", async () => {
  await using r = await remote();
  const plain = createConnection({ host: "127.0.0.1", port: r.port });
  plain.on("error", () => {
    // ECONNRESET: it was cut.
  });
  plain.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  plain.resume();
  await once(plain, "close");
  const page = await dialTls(r);
  page.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const [answer] = (await once(page, "data")) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 426 /);
  page.destroy();
  const long = `X-Long: ${"x".repeat(MAX_HEADER_BYTES)}`;
  assert.match(await upgrade(r, [long]), / 431 /);
  await using client = await r.connect((await r.token()).secret);
  assert.equal((await client.rights.whoAmI()).uid, process.getuid?.());
});

test("who sends nothing, or drop by drop, is cut in time; so many of one address, and no more", async () => {
  await using r = await remote();
  const { secret } = await r.token();
  const startedAt = performance.now();
  const silent = createConnection({ host: "127.0.0.1", port: r.port });
  const slow = await dialTls(r);
  const drops = setInterval(() => slow.write("X"), 100);
  const ends: Promise<unknown>[] = [silent, slow].map((socket) => {
    socket.on("error", () => {
      // It was cut.
    });
    socket.resume();
    return once(socket, "close");
  });
  const more = Array.from({ length: MAX_HALF_OPEN_PER_ADDRESS }, () => {
    const socket = createConnection({ host: "127.0.0.1", port: r.port });
    socket.on("error", () => {
      // The same.
    });
    socket.resume();
    return once(socket, "close");
  });
  // Two of them are over the limit: cut at once.
  await Promise.race(more);
  assert.ok(performance.now() - startedAt < UPGRADE_TIMEOUT_MS - 1_000);
  await assert.rejects(r.connect(secret));
  await Promise.all([...ends, ...more]);
  clearInterval(drops);
  assert.ok(performance.now() - startedAt < UPGRADE_TIMEOUT_MS + 3_000);
  await using client = await r.connect(secret);
  assert.equal(client.state, "connected");
  assert.ok(
    r.events("tcp-refused").some(({ reason }) => reason === "too many half-open connections"),
  );
});

test("over a restart of the daemon the client comes back, its session and mount with it", async () => {
  await using r = await remote();
  await using client = await r.connect((await r.token()).secret);
  await using clone = await client.clone({ origin: "base", name: "one" });
  await using mount = await clone.mount();
  const states: string[] = [];
  client.onState((state) => states.push(state));
  await r.restart();
  assert.deepEqual(
    (await client.mounts()).map(({ reference }) => reference),
    [mount.reference],
  );
  assert.deepEqual(states, ["reconnecting", "connected"]);
});

test("a certificate that is not trusted, or is another host's: TLS_FAILED", async () => {
  await using r = await remote();
  const { secret: token } = await r.token();
  await assert.rejects(connect({ url: r.url, token }), { code: "TLS_FAILED", retryable: false });
  const elsewhere = await makeCertificate(r.world.parent, { name: "other", host: "elsewhere" });
  await assert.rejects(connect({ url: r.url, token, ca: elsewhere.certificate }), {
    code: "TLS_FAILED",
  });
  await assert.rejects(connect({ url: `ws://127.0.0.1:${r.port}`, token }), {
    code: "DAEMON_UNREACHABLE",
  });
});

test("without TLS only this very machine is spoken to, and a URL holds no secret", async () => {
  for (const url of [
    "ws://192.0.2.1:7474",
    "ws://localhost.example.org",
    "http://127.0.0.1",
    "wss://me:secret@127.0.0.1",
    "wss://127.0.0.1/?token=secret",
    "nonsense",
  ]) {
    await assert.rejects(connect({ url, token: WRONG }), (error: Error & { code?: string }) => {
      assert.equal(error.code, "ARGUMENT_INVALID", url);
      return !error.message.includes("secret");
    });
  }
});

test("a certificate is read anew for who connects from then on; a wrong one changes nothing", async () => {
  await using r = await remote();
  const { secret: token } = await r.token();
  await using before = await r.connect(token);
  const { certificate } = await makeCertificate(r.world.parent);
  await chmod(r.certificate.keyFile, 0o644);
  await r.daemon.reloadCertificate();
  assert.match(String(r.events("certificate-refused")[0]?.["reason"]), /read by others/);
  await (await r.connect(token)).close();
  await chmod(r.certificate.keyFile, 0o600);
  await r.daemon.reloadCertificate();
  await assert.rejects(r.connect(token), { code: "TLS_FAILED" });
  await using after = await connect({ url: r.url, token, ca: certificate });
  assert.equal(after.state, "connected");
  assert.equal(before.state, "connected");
});

test("the daemon does not start with a key that others can read, or another certificate's", async () => {
  await using w = await world();
  const one = await makeCertificate(w.parent, { name: "one" });
  const two = await makeCertificate(w.parent, { name: "two" });
  const start = (files: Pick<CertificateFiles, "certificateFile" | "keyFile">): Promise<Daemon> =>
    w.start({ tcp: { address: { host: "127.0.0.1", port: 0 }, ...files, origins: [] } });
  await assert.rejects(start({ ...one, keyFile: two.keyFile }), /not the key of the certificate/);
  await assert.rejects(start({ ...one, certificateFile: one.keyFile }), /no certificate in PEM/);
  await assert.rejects(start({ ...one, keyFile: one.certificateFile }), /no private key/);
  await assert.rejects(start({ ...one, keyFile: `${one.keyFile}.none` }), /can't be read/);
  await chmod(one.keyFile, 0o640);
  await assert.rejects(start(one), /mode 640.*chmod 600/s);
  await chmod(one.keyFile, 0o600);
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const tcp = { address: { host: "127.0.0.1", port }, ...one, origins: [] };
  await assert.rejects(w.start({ tcp }), { code: "SOCKET_IN_USE" });
  taken.close();
  await using daemon = await w.start({ tcp });
  assert.equal(daemon.tcpPort, port);
});

test("what is made on behalf of another is removed on his behalf, at the end of its block too", async (t) => {
  if (process.getuid?.() !== 0) {
    t.skip("takes root, who makes tokens for others");
    return;
  }
  const [maker, other] = [65_531, 65_530];
  await using r = await remote(async ({ parent }) => {
    const path = join(parent, "policy.json");
    const rules = [
      { name: "maker", users: [maker], allow: { onBehalfOf: [other] } },
      { name: "other", users: [other], allow: { create: true, clone: { public: true } } },
    ];
    await writeFile(path, JSON.stringify({ version: 1, rules }), { mode: 0o644 });
    return path;
  });
  await r.local.rights.publish({ name: "base" });
  const token = await r.local.rights.createConnectToken({ uid: maker, lifetimeMs: HOUR_MS });
  await using client = await r.connect(token.secret);
  const names = async () => (await r.local.list()).map(({ name }) => name);
  {
    await using clone = await client.clone({ origin: "base", name: "his", onBehalfOf: other });
    assert.equal(clone.device.ownerUid, other);
    assert.deepEqual(await names(), ["base", "his"]);
  }
  assert.deepEqual(await names(), ["base"]);
  const sizeBytes = 16n << 20n;
  await client.create({ name: "empty", sizeBytes, onBehalfOf: other });
  await assert.rejects(client.remove({ name: "empty" }), { code: "NOT_FOUND" });
  await client.remove({ name: "empty", onBehalfOf: other });
  assert.deepEqual(await names(), ["base"]);
});

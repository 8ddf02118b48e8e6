/** `thinpool` against a daemon over TCP: whom it connects to, with what, and how it ends if it can't. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { PLAIN_FAILURE, thinpool } from "./cli-process.ts";
import { remote } from "./tcp-world.ts";

type Environment = Readonly<Record<string, string>>;

async function done(line: string, env: Environment): Promise<string> {
  const { exitCode, stdout, stderr } = await thinpool(line.split(" "), { env });
  assert.equal(exitCode, 0, `${line}: ${stderr}`);
  return stdout.trimEnd();
}

async function refused(exitCode: number, line: string, env: Environment): Promise<string> {
  const ended = await thinpool(line.split(" "), { env });
  assert.match(ended.stderr, PLAIN_FAILURE);
  assert.deepEqual([ended.exitCode, ended.stdout], [exitCode, ""], `${line}: ${ended.stderr}`);
  return ended.stderr;
}

test("a token of `token connect` opens the daemon to all commands, until it is revoked", async () => {
  await using r = await remote();
  const local = { THINPOOL_SOCKET: r.world.socketPath };
  const { id, secret } = JSON.parse(await done("token connect --for 1h --json", local)) as {
    id: string;
    secret: string;
  };
  const { certificateFile } = r.certificate;
  const tokenFile = join(r.world.parent, "token");
  await writeFile(tokenFile, `${secret}\n`);
  const byEnvironment = {
    THINPOOL_URL: r.url,
    THINPOOL_CA: certificateFile,
    THINPOOL_CONNECT_TOKEN_FILE: tokenFile,
  };
  const byFlags = `--url ${r.url} --ca ${certificateFile}`;
  assert.match(await done("device list", byEnvironment), /^base /m);
  assert.equal(
    await done(`device clone base one ${byFlags}`, { THINPOOL_CONNECT_TOKEN: secret }),
    "one",
  );
  assert.equal(await done("completion candidates -- device show on", byEnvironment), "one");
  // What is typed goes before what is set.
  const nowhere = { ...byEnvironment, THINPOOL_URL: "wss://127.0.0.1:1" };
  assert.match(await done(`device list ${byFlags}`, nowhere), /^one /m);
  assert.match(await done(`device list --socket ${r.world.socketPath}`, nowhere), /^one /m);
  assert.match(await done("token list --connect", byEnvironment), new RegExp(`^${id} `, "m"));
  assert.equal(await done(`token revoke ${id}`, local), id);
  const said = await refused(4, "device list", byEnvironment);
  assert.ok(!said.includes(secret));
});

test("over TCP one is the token's user, whoever runs the command here", async (t) => {
  if (process.getuid?.() !== 0) {
    t.skip("takes root, who makes tokens for others");
    return;
  }
  const other = 65_531;
  await using r = await remote(async ({ parent }) => {
    const path = join(parent, "policy.json");
    const ci = { name: "ci", users: [other], allow: { clone: { public: true } } };
    await writeFile(path, JSON.stringify({ version: 1, rules: [ci] }), { mode: 0o644 });
    return path;
  });
  await r.local.rights.publish({ name: "base" });
  const { secret } = await r.local.rights.createConnectToken({ uid: other, lifetimeMs: 60_000 });
  const env = {
    THINPOOL_URL: r.url,
    THINPOOL_CA: r.certificate.certificateFile,
    THINPOOL_CONNECT_TOKEN: secret,
  };
  await done("device clone base one", env);
  // Root here, a user there: the mount is a user's, and one's own.
  assert.match(await done("mount one", env), new RegExp(`/${other}/one$`));
  assert.deepEqual(
    (await r.local.mounts()).map(({ ownerUid, holder }) => ({ ownerUid, holder })),
    [{ ownerUid: other, holder: "lease" }],
  );
  assert.match(await done("lease renew one --for 1h", env), /^one: ends in (1h|59m)/);
  assert.equal(await done("umount one", env), "one: unmounted");
  await done("mount one", env);
  assert.equal(await done("lease release one", env), "one: unmounted");
  assert.match(await done("device clone base two --ephemeral", env), /two$/);
  assert.equal(await done("umount two", env), "two: unmounted");
});

test("what is copied into a mount is copied on the daemon's machine", async () => {
  await using r = await remote();
  const { secret } = await r.token();
  const env = { THINPOOL_CONNECT_TOKEN: secret };
  const flags = `--url ${r.url} --ca ${r.certificate.certificateFile}`;
  const line = `image create made --from-folder ${import.meta.dirname} --size 16MiB`;
  assert.match(await refused(2, `${line} ${flags}`, env), /image import/);
  const set = { ...env, THINPOOL_URL: r.url, THINPOOL_CA: r.certificate.certificateFile };
  assert.match(await refused(2, line, set), /image import/);
  assert.deepEqual(
    (await r.local.list()).map(({ name }) => name),
    ["base"],
  );
});

test("no token, a certificate that is not trusted: 4; nobody there: 7; a wrong command line: 2", async () => {
  await using r = await remote();
  const { secret } = await r.token();
  const ca = `--ca ${r.certificate.certificateFile}`;
  const token = { THINPOOL_CONNECT_TOKEN: secret };
  assert.match(await refused(4, `whoami --url ${r.url} ${ca}`, {}), /token/);
  assert.match(await refused(4, `whoami --url ${r.url}`, token), /certificate/);
  await refused(7, `whoami --url wss://127.0.0.1:1 ${ca}`, token);
  for (const [line, env] of [
    [`whoami --url ${r.url} --socket /s`, token],
    [`whoami --url ${r.url} --direct`, token],
    [`whoami ${ca}`, token],
    [`whoami --url ${r.url} ${ca}.none`, token],
    [`whoami --url ${r.url}`, { THINPOOL_CONNECT_TOKEN_FILE: "/none" }],
    [`whoami --url ${r.url}`, { ...token, THINPOOL_CONNECT_TOKEN_FILE: "/none" }],
    ["whoami --url ws://192.0.2.1:7474", token],
    [`whoami --url ${r.url}`, { THINPOOL_CONNECT_TOKEN: "short" }],
  ] as const) {
    assert.ok(!(await refused(2, line, env)).includes(secret));
  }
});

test("serve wants address, certificate and key together", async () => {
  const said = await refused(2, "serve --tcp 127.0.0.1:0 --tls-key /key", {});
  assert.match(said, /--tls-certificate/);
  assert.match(
    await refused(2, "serve --metrics 70000", {}),
    /"70000": it is neither an absolute path nor a port/,
  );
});

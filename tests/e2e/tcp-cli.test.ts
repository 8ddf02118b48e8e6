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
});

/**
 * The daemon's commands as programs, from the bundle: each finds what it loads, speaks to the daemon and
 * ends. What each prints and refuses is seen in one process, beside the code (commands.test.ts).
 */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { thinpool } from "./cli-process.ts";
import { world } from "./sim-world.ts";

test("a day of a device, command by command", async (t) => {
  if (process.getuid?.() !== 0) {
    t.skip("images are root's");
    return;
  }
  await using w = await world();
  await using _daemon = await w.start();
  const from = join(w.parent, "content");
  await mkdir(from);
  await writeFile(join(from, "hello"), "hello\n");
  const done = async (line: string): Promise<string> => {
    const env = { THINPOOL_SOCKET: w.socketPath };
    const { exitCode, stdout, stderr } = await thinpool(line.split(" "), { env });
    assert.equal(exitCode, 0, `${line}: ${stderr}`);
    return stdout.trimEnd();
  };
  assert.match(await done("whoami"), /root|0/);
  assert.equal(await done(`image create golden --from-folder ${from} --size 32MiB`), "golden");
  assert.equal(await done("device clone golden one"), "one");
  await done("device label one ticket=42");
  assert.match(await done("device show one"), /ticket=42/);
  assert.match(await done("mount one --lease 1h"), /\/one$/);
  assert.match(await done("device trim one"), /^one: /);
  assert.match(await done("lease renew one --for 2h"), /^one: /);
  await done("umount one");
  assert.equal(await done("device snapshot one then"), "then");
  assert.match(await done("device resize one 48MiB"), /^one: 48 MiB/);
  assert.equal(await done("device revert one then --yes"), "one");
  assert.equal(await done("completion candidates -- device show on"), "one");
  const { id } = JSON.parse(await done("token create one --allow clone --json")) as { id: string };
  assert.equal(await done(`token revoke ${id}`), id);
  await done("device remove one --yes");
  assert.match(await done("device list"), /^then /m);
  assert.deepEqual(JSON.parse(await done("image remove golden --yes --json")), {
    removed: "golden",
  });
});

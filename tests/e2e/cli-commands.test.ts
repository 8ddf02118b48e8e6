/**
 * The daemon's commands as programs, from the bundle: each finds what it loads, speaks to the daemon and
 * ends. What each prints and refuses is seen in one process, beside the code (commands.test.ts).
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { cliArguments, thinpool } from "./cli-process.ts";
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

test("pool events --follow: over a restart of the daemon, until Ctrl-C; with --json by lines", async () => {
  await using w = await world();
  let daemon = await w.start();
  const follow = (...more: string[]) => {
    const args = cliArguments(["pool", "events", "--follow", "--after", "2", ...more]);
    const env = { PATH: process.env["PATH"], THINPOOL_SOCKET: w.socketPath };
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let [output, failures] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (failures += text));
    const lines = async (count: number): Promise<readonly string[]> => {
      while (output.split("\n").length <= count) await once(child.stdout, "data");
      return output.trimEnd().split("\n");
    };
    return { child, lines, failures: () => failures };
  };
  const [text, json] = [follow(), follow("--json")];
  await Promise.all([text.lines(2), json.lines(1)]);
  await (await w.connect()).clone({ origin: "base", name: "one" });
  await Promise.all([text.lines(3), json.lines(2)]);
  await daemon.stop();
  daemon = await w.start();
  await (await w.connect()).clone({ origin: "base", name: "two" });
  const wanted = ["3 pool-opened", "4 device-created one", "5 pool-opened", "6 device-created two"];
  const told = (await json.lines(wanted.length)).map((line) => {
    const event = JSON.parse(line) as { number: number; type: string; name?: string };
    return [event.number, event.type, event.name].join(" ").trim();
  });
  assert.deepEqual(told, wanted);
  const [heading, ...rows] = await text.lines(1 + wanted.length);
  assert.match(heading ?? "", /NUMBER +TIME +EVENT +DETAIL/);
  assert.deepEqual(
    rows.map((row) => row.replace(/^ +(\d+) +\S+ +(\S+)(?: +name=(\S+).*)?$/, "$1 $2 $3").trim()),
    wanted,
  );
  for (const { child, failures } of [text, json]) {
    child.kill("SIGINT");
    assert.deepEqual([await once(child, "close"), failures()], [[0, null], ""]);
  }
  await daemon.stop();
});

test("archives through pipes: what goes in by standard input comes out by standard output", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  const from = join(w.parent, "content");
  await mkdir(from);
  await writeFile(join(from, "hello"), "hello\n".repeat(200_000));
  const words = (...args: string[]): string =>
    [process.execPath, ...cliArguments(args)].map((word) => `'${word}'`).join(" ");
  const script = [
    "set -e",
    `tar -C '${from}' -czf - . | ${words("image", "import", "piped", "-", "--size", "32MiB")}`,
    `${words("device", "export", "piped", "-")} | tar -xOf - hello`,
  ].join("\n");
  const env = { PATH: process.env["PATH"], THINPOOL_SOCKET: w.socketPath };
  const child = spawn("/bin/sh", ["-c", script], { env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 0);
  assert.equal(output, `piped\n${"hello\n".repeat(200_000)}`);
});

test("Ctrl-C during an import: it says so, and nothing is left", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  await using client = await w.connect();
  const args = cliArguments(["image", "import", "half", "-", "--size", "32MiB"]);
  const env = { PATH: process.env["PATH"], THINPOOL_SOCKET: w.socketPath };
  const child = spawn(process.execPath, args, { env, stdio: ["pipe", "ignore", "pipe"] });
  const archive = execFileSync("tar", ["-c", "-C", import.meta.dirname, "."], {
    maxBuffer: 1 << 26,
  });
  child.stdin.write(archive.subarray(0, 50_000));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const isThere = async (): Promise<boolean> =>
    (await client.list()).some(({ name }) => name === "half");
  while (!(await isThere())) await new Promise((resolve) => setTimeout(resolve, 20));
  child.kill("SIGINT");
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 1);
  assert.match(said, /image import of half: cancelled/);
  assert.match(said, /Nothing is left/);
  while (await isThere()) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal((await client.mounts()).length, 0);
});

test("a reader that goes is no crash: lists end well, an archive does not, following ends", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  await using client = await w.connect();
  const env = { PATH: process.env["PATH"], THINPOOL_SOCKET: w.socketPath };
  const run = (...args: string[]) => {
    const child = spawn(process.execPath, cliArguments(args), {
      env,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 20_000,
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    return { child, ended: once(child, "close"), said: () => said };
  };
  for (const line of ["device list", "device list --verbose", "pool status --json"]) {
    const list = run(...line.split(" "));
    list.child.stdout.destroy();
    assert.deepEqual([await list.ended, list.said()], [[0, null], ""], line);
  }
  const archive = run("device", "export", "base", "-");
  archive.child.stdout.destroy();
  assert.deepEqual(await archive.ended, [1, null]);
  assert.match(archive.said(), /^Error: .*whoever read it has ended\.\nHint: /);
  for (const flags of [[], ["--json"]]) {
    const follower = run("pool", "events", "--follow", ...flags);
    await once(follower.child.stdout, "data");
    follower.child.stdout.destroy();
    // It hears of it with what it writes next.
    for (const name of ["one", "two", "three"]) await client.clone({ origin: "base", name });
    assert.deepEqual([await follower.ended, follower.said()], [[0, null], ""]);
    for (const name of ["one", "two", "three"]) await client.remove({ name });
  }
});

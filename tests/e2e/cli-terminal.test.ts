/** The command line on a pseudo-terminal (script(1)): colour, prompts, pictures, `top`. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { cliArguments, thinpool } from "./cli-process.ts";
import { world } from "./sim-world.ts";

const TIMEOUT_MS = 60_000;

/** Runs it with a terminal of 80 columns; `type` is typed once `when` is on the screen. */
async function onTerminal(
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly when?: RegExp;
    readonly type?: string;
  } = {},
): Promise<{ readonly exitCode: number | null; readonly screen: string }> {
  const words = [process.execPath, ...cliArguments(args)].map((word) => `'${word}'`).join(" ");
  const child = spawn(
    "/usr/bin/script",
    ["--quiet", "--return", "--command", `stty cols 80 rows 24; exec ${words}`, "/dev/null"],
    {
      env: { PATH: process.env["PATH"], TERM: "xterm-256color", ...options.env },
      stdio: ["pipe", "pipe", "inherit"],
      timeout: TIMEOUT_MS,
      killSignal: "SIGKILL",
    },
  );
  let screen = "";
  let typed = options.type === undefined;
  child.stdout.on("data", (chunk: Buffer) => {
    screen += chunk.toString("utf8");
    if (typed || options.when?.test(screen) !== true) return;
    typed = true;
    child.stdin.write(options.type ?? "");
  });
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  assert.ok(typed, `never on the screen: ${String(options.when)} in ${screen}`);
  return { exitCode, screen };
}

/** An escape sequence that sets red, which the word "Error:" gets (ECMA-48). */
const RED = "\u001B[31m";

test("errors are coloured on a terminal, and not where NO_COLOR is set", async () => {
  const coloured = await onTerminal(["device", "list", "--socket", "/nowhere"]);
  assert.deepEqual([coloured.exitCode, coloured.screen.includes(RED)], [7, true]);
  const env = { NO_COLOR: "1" };
  const plain = await onTerminal(["device", "list", "--socket", "/nowhere"], { env });
  assert.deepEqual([plain.exitCode, plain.screen.includes(RED)], [7, false]);
});

test("removing asks on a terminal: no changes nothing, yes removes", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  await using client = await w.connect();
  await client.clone({ origin: "base", name: "mine" });
  const args = ["device", "remove", "mine", "--socket", w.socketPath];
  const when = /\[y\/N\] /;
  const refused = await onTerminal(args, { when, type: "n\r" });
  assert.match(refused.screen, /Delete device mine \(16 MiB, ext4\)/);
  assert.match(refused.screen, /not confirmed/);
  // Ctrl-C, and Ctrl-D.
  for (const type of ["\u0003", "\u0004"]) {
    const left = await onTerminal(args, { when, type });
    assert.equal(left.exitCode, 2);
    assert.match(left.screen, /not confirmed, nothing was changed/);
  }
  assert.equal((await client.list()).length, 2);
  const done = await onTerminal(args, { when, type: "y\r" });
  assert.equal(done.exitCode, 0);
  assert.deepEqual(
    (await client.list()).map(({ name }) => name),
    ["base"],
  );
});

test("top takes the screen, listens to keys, and gives it back", async () => {
  await using w = await world();
  await using _daemon = await w.start();
  const { exitCode, screen } = await onTerminal(["top", "--socket", w.socketPath], {
    when: /base/,
    type: "sq",
  });
  assert.equal(exitCode, 0);
  assert.ok(screen.includes("\u001B[?1049h"));
  assert.match(screen, /sorted by io/);
  assert.match(screen, /sorted by size/);
  assert.ok(screen.trimEnd().endsWith("\u001B[?1049l"));
  const piped = await thinpool(["top", "--socket", w.socketPath]);
  assert.deepEqual([piped.exitCode, piped.stdout], [2, ""]);
});

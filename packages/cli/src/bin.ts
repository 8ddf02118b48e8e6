#!/usr/bin/env node
/** `thinpool`: from the sources and built alike, so the commands are those beside this file. */
import { readFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { report } from "./lib/errors.ts";
import { quickOf } from "./lib/quick.ts";

const root = dirname(import.meta.dirname);
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly name: string;
  readonly version: string;
};
const argv = process.argv.slice(2);
const quick = quickOf(argv, process.env);

if (argv.length === 1 && argv[0] === "--version") {
  // Without oclif, which takes three times as long to load as Node itself.
  process.stdout.write(`thinpool ${manifest.version}\n`);
} else if (quick !== undefined) {
  try {
    const { answerQuickly } = await import("./lib/answer.ts");
    await answerQuickly(quick);
  } catch (thrown) {
    report(thrown, { json: quick.json, verbose: false });
  }
} else {
  const target = join(import.meta.dirname, "commands", `index${extname(import.meta.filename)}`);
  // oclif asks for the home folder and the shell as it loads. A user without an account has neither
  // where the environment does not say, and that must not be a crash.
  process.env["HOME"] ??= "/";
  process.env["SHELL"] ??= "/bin/sh";
  const { runThinpool } = await import("./lib/run.ts");
  try {
    await runThinpool({ argv, root, manifest, target });
  } catch (thrown) {
    report(thrown, { json: argv.includes("--json"), verbose: argv.includes("--verbose") });
  }
}

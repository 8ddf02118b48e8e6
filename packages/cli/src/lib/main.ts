/** `thinpool ARGS`: quick answers first, oclif for the rest, and one end for whatever is thrown. */
import { report } from "./errors.ts";
import { quickOf } from "./quick.ts";
import { watchReader } from "./reader.ts";
import type { RunOptions } from "./run.ts";

/** Sets the exit code; never rejects. */
export async function main(options: RunOptions): Promise<void> {
  const { argv, manifest } = options;
  watchReader();
  const quick = quickOf(argv, process.env);
  try {
    if (argv.length === 1 && argv[0] === "--version") {
      // Without oclif, which takes three times as long to load as Node itself.
      process.stdout.write(`thinpool ${manifest.version}\n`);
    } else if (quick !== undefined) {
      const { answerQuickly } = await import("./answer.ts");
      await answerQuickly(quick);
    } else {
      // oclif asks for the home folder and the shell as it loads. A user without an account has neither
      // where the environment does not say, and that must not be a crash.
      process.env["HOME"] ??= "/";
      process.env["SHELL"] ??= "/bin/sh";
      const { runThinpool } = await import("./run.ts");
      await runThinpool(options);
    }
  } catch (thrown) {
    report(thrown, { json: argv.includes("--json"), verbose: argv.includes("--verbose") });
  }
}

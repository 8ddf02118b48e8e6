/** `./run COMMAND`: finds the command in the table below and runs it; without one, lists them. */
import { bench } from "./commands/bench.ts";
import { demo } from "./commands/demo.ts";
import { doctor } from "./commands/doctor.ts";
import { lab } from "./commands/lab.ts";
import { mutants } from "./commands/mutants.ts";
import { soak } from "./commands/soak.ts";
import { test } from "./commands/test.ts";
import { thinpool } from "./commands/thinpool.ts";
import type { RunCommand } from "./lib/command.ts";
import { Stopped } from "./lib/run-process.ts";

const COMMANDS: Readonly<Record<string, RunCommand>> = {
  demo,
  test,
  soak,
  mutants,
  lab,
  doctor,
  bench,
  thinpool,
};

function usage(): string {
  const lines = Object.entries(COMMANDS).map(
    ([name, command]) => `  ./run ${name.padEnd(8)} ${command.summary}`,
  );
  return ["thinpool: copy-on-write disks for Linux", "", ...lines, ""].join("\n");
}

/** Of util.parseArgs: an option that there is not, or without its value. */
function isUsage(error: unknown): boolean {
  return (
    error instanceof TypeError &&
    "code" in error &&
    String(error.code).startsWith("ERR_PARSE_ARGS_")
  );
}

const [name, ...args] = process.argv.slice(2);
if (name === undefined || name === "help" || name === "--help") {
  process.stdout.write(usage());
} else {
  const command = COMMANDS[name];
  if (command === undefined) {
    process.stderr.write(`run: there is no command '${name}'\n\n${usage()}`);
    process.exitCode = 2;
  } else {
    try {
      process.exitCode = await command.run(args);
    } catch (error) {
      const exitCode = error instanceof Stopped ? error.exitCode : isUsage(error) ? 2 : undefined;
      if (exitCode === undefined) throw error;
      process.stderr.write(`run ${name}: ${(error as Error).message}\n`);
      process.exitCode = exitCode;
    }
  }
}

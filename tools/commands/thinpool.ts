import type { RunCommand } from "../lib/command.ts";
import { execProgram } from "../lib/exec-program.ts";

export const thinpool: RunCommand = {
  summary: "the command line from these sources: ./run thinpool --help",
  run: (args) => execProgram("packages/cli/src/bin.ts", args),
};

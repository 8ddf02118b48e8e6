import type { RunCommand } from "../lib/command.ts";
import { execProgram } from "../lib/exec-program.ts";

export const bench: RunCommand = {
  summary:
    "measure beside C, dmsetup, lvm2, containerd: ./run bench [--quick] [--json FILE] [--only …] [--seed N]",
  run: (args) => execProgram("bench/src/main.ts", args),
};

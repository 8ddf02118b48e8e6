import type { RunCommand } from "../lib/command.ts";
import { buildPackages } from "../lib/build.ts";
import { execProgram } from "../lib/exec-program.ts";

export const bench: RunCommand = {
  summary:
    "measure beside C, dmsetup, lvm2, containerd: ./run bench [--quick] [--json FILE] [--only …] [--seed N]",
  async run(args) {
    // What is measured is what is published; it also starts in a third of the time that the sources take.
    if (!(await buildPackages("bench"))) return 1;
    return execProgram("bench/src/main.ts", args);
  },
};

import { spawn } from "node:child_process";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { untilClosed } from "../lib/run-process.ts";

const SOAKS: readonly string[] = ["crash", "power", "flush"];

const usage = `./run soak crash [--histories N] [--seed S] [--history K]
    random histories of operations, deaths and faults on the simulated kernel
./run soak power [--cuts N] [--seed S] [--guests G]
    power cuts under load on a real kernel, in the lab
./run soak flush [--disks N] [--seed S] [--guests G] [--log FILE --disk K]
    disks as they were at every flush of a recorded load, opened and checked in the lab
stdout gets one line of JSON; the exit code is 0 only with nothing lost, leaked or failed.
`;

/** Hands over to tests/crash, which has the terminal and the signals. */
export const soak: RunCommand = {
  summary:
    "as many crashes as you like: crash --histories N, power --cuts N, flush --disks N; with --seed S",
  async run(args) {
    const [name = "", ...rest] = args;
    if (!SOAKS.includes(name)) {
      process.stderr.write(usage);
      return 2;
    }
    const node = ["--disable-warning=ExperimentalWarning", "--conditions=source"];
    const child = spawn(
      process.execPath,
      [...node, `${ROOT}/tests/crash/${name}-soak.ts`, ...rest],
      { cwd: ROOT, stdio: "inherit" },
    );
    return untilClosed(child);
  },
};

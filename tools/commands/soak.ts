import { spawn } from "node:child_process";
import type { RunCommand } from "../lib/command.ts";
import { buildPackages } from "../lib/build.ts";
import { ROOT } from "../lib/command.ts";
import { untilClosed } from "../lib/run-process.ts";
import { clientsCommand } from "./soak-clients.ts";

const SOAKS: readonly string[] = ["crash", "power", "flush", "clients"];

const usage = `./run soak crash [--histories N] [--seed S] [--history K]
    random histories of operations, deaths and faults on the simulated kernel
./run soak power [--cuts N] [--seed S] [--guests G]
    power cuts under load on a real kernel, in the lab
./run soak flush [--disks N] [--seed S] [--guests G] [--log FILE --disk K]
    disks as they were at every flush of a recorded load, opened and checked in the lab
./run soak clients [--clients N] [--minutes N] [--rounds N] [--seed S] [--kernel uml|qemu]
    N clients at once against the real daemon in the lab, some of them killed
stdout gets one line of JSON; the exit code is 0 only with nothing lost, leaked or failed.
`;

/** Hands over to tests/crash, which has the terminal and the signals. */
export const soak: RunCommand = {
  summary:
    "as many as you like, with --seed S: crash --histories N, power --cuts N, flush --disks N, clients --clients N",
  async run(args) {
    const [name = "", ...rest] = args;
    if (!SOAKS.includes(name)) {
      process.stderr.write(usage);
      return 2;
    }
    const inLab = name === "clients" ? clientsCommand(rest) : undefined;
    if (name === "clients" && inLab === undefined) {
      process.stderr.write(usage);
      return 2;
    }
    // A guest loads the build in half the time that the sources take.
    if (name !== "crash" && !(await buildPackages("soak"))) return 1;
    const node = ["--disable-warning=ExperimentalWarning", "--conditions=source"];
    const child = spawn(
      process.execPath,
      inLab ?? [...node, `${ROOT}/tests/crash/${name}-soak.ts`, ...rest],
      { cwd: ROOT, stdio: "inherit" },
    );
    return untilClosed(child);
  },
};

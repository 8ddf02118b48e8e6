import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { runProcess } from "../lib/run-process.ts";
import { execLab } from "./lab.ts";

const DISK = "4G";
const TIMEOUT_SECONDS = 240;

/** Builds the packages and runs examples/main-job on a disk of its own in the lab. */
export const demo: RunCommand = {
  summary:
    "the main job on a real kernel: a pool, ten clones, a killed daemon, nothing lost [--kernel uml|qemu]",
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: { kernel: { type: "string", default: "uml" } },
    });
    const build = await runProcess("node_modules/.bin/turbo", [
      "run",
      "build",
      "--output-logs=errors-only",
    ]);
    if (build.exitCode !== 0) {
      process.stderr.write(`${build.output}\nrun demo: the build failed, see above\n`);
      return 1;
    }
    const folder = mkdtempSync(join(tmpdir(), "thinpool-demo-"));
    try {
      // The pool lies on a disk, as it would on a server, not in the guest's memory.
      return await execLab("main", [
        `--kernel=${values.kernel}`,
        "--memory=2048",
        `--timeout=${TIMEOUT_SECONDS}`,
        `--disk=pool=${join(folder, "pool.img")}:${DISK}`,
        "--",
        "/bin/sh",
        `${ROOT}/examples/main-job/on-disk.sh`,
      ]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

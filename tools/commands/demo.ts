import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { buildPackages } from "../lib/build.ts";
import { GUEST_COMPILE_CACHE, makeGuestCompileCache } from "../lib/guest-compile-cache.ts";
import { execLab } from "./lab.ts";

const DISK = "4G";
const TIMEOUT_SECONDS = 600;

/** Builds the packages and runs examples/main-job on a disk of its own in the lab. */
export const demo: RunCommand = {
  summary:
    "the main job on a real kernel: a pool, ten clones, a killed daemon, nothing lost [--kernel uml|qemu]",
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: { kernel: { type: "string", default: "uml" } },
    });
    if (!(await buildPackages("demo"))) return 1;
    makeGuestCompileCache();
    const folder = mkdtempSync(join(tmpdir(), "thinpool-demo-"));
    try {
      // The pool lies on a disk, as it would on a server, not in the guest's memory.
      return await execLab("main", [
        `--kernel=${values.kernel}`,
        "--memory=2048",
        `--timeout=${TIMEOUT_SECONDS}`,
        ...GUEST_COMPILE_CACHE,
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

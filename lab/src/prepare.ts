import { findProgram, runProgram } from "./commands.ts";
import { LabError } from "./lab-error.ts";
import type { LabKernel } from "./options.ts";
import { updateLists } from "./package-lists.ts";
import { prepareKernel, type UnpackedKernel } from "./qemu-kernel.ts";
import { installCommand, missing, type Requirement, requirementsOf } from "./requirements.ts";
import { prepareRegisters } from "./uml-registers.ts";

/**
 * Makes the machine able to run a kernel, doing nothing where it is. `say` gets one line before
 * each thing that is installed or downloaded.
 *
 * Returns qemu's kernel for `qemu`. Throws {@link LabError} with the command to run where it may
 * not install.
 */
export function prepare(
  kernel: LabKernel,
  say: (line: string) => void,
): UnpackedKernel | undefined {
  if (kernel !== "host" && process.arch !== "x64")
    throw new LabError(
      `the lab's kernels are for amd64; this machine is ${process.arch}`,
      "use --host as root on a machine with dm-thin",
    );
  installMissing(requirementsOf(kernel), say);
  if (kernel === "uml") prepareRegisters(say);
  return kernel === "qemu" ? prepareKernel(say) : undefined;
}

/**
 * Installs the packages of what this machine lacks; `say` gets one line first. Throws {@link LabError}
 * with the command to run where it may not.
 */
export function installMissing(wanted: readonly Requirement[], say: (line: string) => void): void {
  const packages = [...new Set(missing(wanted).map((requirement) => requirement.package))];
  if (packages.length === 0) return;
  const command = installCommand(packages);
  if (findProgram("apt-get") === undefined)
    throw new LabError(
      `missing: ${packages.join(", ")}`,
      "the lab installs packages on Debian only; install the same programs by other means",
    );
  if (process.getuid?.() !== 0)
    throw new LabError(`missing packages, and only root can install them`, `run: ${command}`);
  say(`installing Debian packages: ${packages.join(" ")}`);
  const apply = (): Buffer =>
    // The lock: another run may be installing the same packages.
    runProgram(
      "apt-get",
      [
        "-qq",
        "-o",
        "DPkg::Lock::Timeout=300",
        "install",
        "-y",
        "--no-install-recommends",
        ...packages,
      ],
      { env: { DEBIAN_FRONTEND: "noninteractive" } },
    );
  if (!packages.every(hasCandidate)) updateLists(say);
  try {
    apply();
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    // Old lists name versions that the archive no longer has.
    updateLists(say);
    apply();
  }
  const still = missing(wanted);
  if (still.length > 0)
    throw new LabError(`installed, but still missing: ${still.map((r) => r.needs).join(", ")}`);
}

function hasCandidate(name: string): boolean {
  const policy = runProgram("apt-cache", ["policy", name]).toString("utf8");
  return /Candidate: (?!\(none\))/.test(policy);
}

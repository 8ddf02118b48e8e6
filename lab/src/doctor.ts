import { cachedKernel } from "./qemu-kernel.ts";
import { hostThin } from "./host-thin.ts";
import { labKernels, type LabKernel } from "./options.ts";
import { installCommand, missing, requirementsOf } from "./requirements.ts";

/** What this machine can do with one kernel. */
export interface KernelHealth {
  readonly kernel: LabKernel;
  readonly usable: boolean;
  /** One line each: why not, or what to know. */
  readonly findings: readonly string[];
  /** What to do, where something can be done. */
  readonly mend?: string;
}

export interface Health {
  readonly node: { readonly version: string; readonly usable: boolean };
  readonly kernels: readonly KernelHealth[];
}

/** Node 24 runs TypeScript as it is. */
const leastNode = 24;

/** Looks, and changes nothing but the loading of the host's own dm-thin module. */
export function examine(): Health {
  const version = process.versions.node;
  return {
    node: { version, usable: Number(version.split(".")[0]) >= leastNode },
    kernels: labKernels.map((kernel) => (kernel === "host" ? examineHost() : examineGuest(kernel))),
  };
}

function examineGuest(kernel: "uml" | "qemu"): KernelHealth {
  if (process.arch !== "x64")
    return {
      kernel,
      usable: false,
      findings: [`the kernel is for amd64; this machine is ${process.arch}`],
    };
  const lacking = missing(requirementsOf(kernel));
  if (lacking.length > 0) {
    const packages = lacking.map((requirement) => requirement.package);
    return {
      kernel,
      usable: false,
      findings: lacking.map((one) => `${one.needs} is missing (package ${one.package})`),
      mend: installCommand(packages),
    };
  }
  if (kernel === "uml")
    return { kernel, usable: true, findings: ["linux.uml and all tools are there; one CPU"] };
  const unpacked = cachedKernel();
  if (unpacked === undefined)
    return {
      kernel,
      usable: false,
      findings: ["the packages are there; Debian's kernel is not downloaded yet"],
      mend: "./run lab --kernel qemu -- true",
    };
  return {
    kernel,
    usable: true,
    findings: [`Linux ${unpacked.version} in ${unpacked.folder}; two CPUs, emulated`],
  };
}

function examineHost(): KernelHealth {
  const thin = hostThin();
  if (!thin.usable) return { kernel: "host", usable: false, findings: [thin.why], mend: thin.mend };
  const lacking = missing(requirementsOf("host"));
  if (lacking.length > 0)
    return {
      kernel: "host",
      usable: false,
      findings: lacking.map((one) => `${one.needs} is missing (package ${one.package})`),
      mend: installCommand(lacking.map((one) => one.package)),
    };
  return { kernel: "host", usable: true, findings: ["dm-thin is loaded; the caller is root"] };
}

/** For people. */
export function healthText(health: Health): string {
  const lines = [
    `node  ${health.node.usable ? "yes" : "no "}  ${health.node.version}, ${leastNode} or newer wanted`,
  ];
  for (const { kernel, usable, findings, mend } of health.kernels) {
    const [first, ...rest] = findings;
    lines.push(`${kernel.padEnd(4)}  ${usable ? "yes" : "no "}  ${first ?? ""}`);
    lines.push(...rest.map((finding) => `           ${finding}`));
    if (mend !== undefined) lines.push(`           mend: ${mend}`);
  }
  return `${lines.join("\n")}\n`;
}

if (import.meta.main) {
  const health = examine();
  const json = process.argv.includes("--json");
  process.stdout.write(json ? `${JSON.stringify(health)}\n` : healthText(health));
  process.exitCode = health.node.usable && health.kernels.some((kernel) => kernel.usable) ? 0 : 1;
}

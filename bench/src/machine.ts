/** What the figures were measured on. */
import { readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Machine {
  readonly kernel: string;
  readonly lab: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly node: string;
}

/** Of the kernel that this runs in. */
export function guestMachine(): Machine {
  return {
    kernel: release(),
    lab: process.env["LAB_KERNEL"] ?? "none",
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: cpus().length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    node: process.version,
  };
}

/** Of the machine that the guest runs on. */
export function hostMachine(): {
  readonly cpu: string;
  readonly cpus: number;
  readonly load: number;
} {
  return { cpu: cpus()[0]?.model ?? "unknown", cpus: cpus().length, load: loadavg()[0] ?? 0 };
}

/** Processes and threads that this kernel has started since its boot. */
export function processesStarted(): number {
  const match = /^processes (\d+)$/m.exec(readFileSync("/proc/stat", "utf8"));
  return Number(match?.[1] ?? 0);
}

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";

/** A CPU that no other guest of the lab takes meanwhile. */
export interface CpuClaim {
  readonly cpu: number;
  release(): void;
}

/** A socket without a file: it goes with the process that holds it, however that ends. */
const claimPrefix = "\0thinpool-lab-cpu-";

/**
 * The first CPU of these that no guest has yet; undefined where there is only one, or all are taken.
 *
 * User Mode Linux and the programs in it are processes that take turns at each system call and page
 * fault. On one CPU that is a plain switch; on two, each turn wakes a sleeping CPU, and a run takes
 * half as long again.
 */
export async function claimCpu(
  cpus: readonly number[] = allowedCpus(),
  prefix: string = claimPrefix,
): Promise<CpuClaim | undefined> {
  if (cpus.length < 2) return undefined;
  for (const cpu of cpus) {
    const server = createServer();
    try {
      server.listen(`${prefix}${cpu}`);
      await once(server, "listening");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EADDRINUSE") continue;
      throw error;
    }
    server.unref();
    return { cpu, release: () => void server.close() };
  }
  return undefined;
}

/** The command, to be started on that CPU only. */
export function pinned(
  cpu: number | undefined,
  program: string,
  args: readonly string[],
): [program: string, args: string[]] {
  if (cpu === undefined) return [program, [...args]];
  return ["taskset", ["--cpu-list", String(cpu), program, ...args]];
}

/** Those that this process may run on. */
export function allowedCpus(): number[] {
  const match = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"));
  const cpus = parseCpuList(match?.[1] ?? "");
  assert.ok(cpus.length > 0, "/proc/self/status says on which CPUs this process may run");
  return cpus;
}

/** The kernel's way to write a set: `0-3,8`. */
export function parseCpuList(text: string): number[] {
  return text
    .split(",")
    .filter((range) => range !== "")
    .flatMap((range) => {
      const [first = 0, last = first] = range.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, index) => first + index);
    });
}

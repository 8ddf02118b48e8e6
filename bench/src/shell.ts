import { execFileSync } from "node:child_process";

/** Runs a program to its end; its output. A failure carries what it said on stderr. */
export function shell(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 64 * 2 ** 20,
  });
}

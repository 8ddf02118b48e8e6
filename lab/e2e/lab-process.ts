import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

export interface LabOutcome {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

const main = join(import.meta.dirname, "../src/main.ts");

/** The lab as its users start it. `temporary` becomes its TMPDIR; "open": its stdin never ends. */
export function startLab(
  args: readonly string[],
  temporary: string,
  input?: Uint8Array | "open",
): { readonly process: ChildProcess; readonly outcome: Promise<LabOutcome> } {
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, TMPDIR: temporary },
  });
  if (input !== "open") child.stdin.end(input);
  const outcome = Promise.all([
    once(child, "exit"),
    buffer(child.stdout),
    buffer(child.stderr),
  ]).then(([[code], stdout, stderr]) => ({
    code: code as number | null,
    stdout,
    stderr: stderr.toString("utf8"),
  }));
  return { process: child, outcome };
}

/** Waits for a condition: 50 ms between looks, `seconds` at most. */
export async function until(condition: () => boolean, seconds: number): Promise<void> {
  for (let look = 0; look < seconds * 20; look += 1) {
    if (condition()) return;
    await sleep(50);
  }
  throw new Error(`waited ${seconds} s in vain`);
}

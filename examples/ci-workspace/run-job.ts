/**
 * `run-job.ts IMAGE COMMAND [ARGUMENT…]`: runs the command in a private, writable clone of IMAGE and
 * ends with its exit code. The clone goes with this program, however it ends.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:os";
import { setTimeout } from "node:timers/promises";
import { connect } from "@thinpool/sdk";

/** Killed processes may take as long as their disk does. */
const GROUP_END_MS = 10_000;
const RETRY_MS = 20;

/** As a shell has it: 128 and the signal's number where a signal ended the command. */
async function runIn(folder: string, command: readonly string[]): Promise<number> {
  // If this program is killed, the kernel kills the job: who works in a workspace keeps it.
  const guarded = ["--pdeathsig", "KILL", "--", ...command];
  // A process group of its own: what the job leaves in the background is found again.
  const job = spawn("setpriv", guarded, { cwd: folder, stdio: "inherit", detached: true });
  const forward = (signal: NodeJS.Signals): void => void job.kill(signal);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, forward);
  const [code, signal] = (await once(job, "close")) as [number | null, NodeJS.Signals | null];
  if (job.pid !== undefined) await killGroup(job.pid);
  return signal === null ? (code ?? 1) : 128 + constants.signals[signal];
}

async function killGroup(leader: number): Promise<void> {
  const deadline = performance.now() + GROUP_END_MS;
  try {
    while (performance.now() < deadline) {
      process.kill(-leader, "SIGKILL");
      await setTimeout(RETRY_MS);
    }
  } catch {
    // ESRCH: the group has no process left.
  }
}

const [image, ...command] = process.argv.slice(2);
if (image === undefined || command.length === 0) {
  process.stderr.write("usage: run-job.ts IMAGE COMMAND [ARGUMENT…]\n");
  process.exit(2);
}
await using client = await connect();
// Ephemeral: the daemon removes it with its last mount, and the mount with this client.
const clone = await client.clone({ origin: image, name: `job-${randomUUID()}`, ephemeral: true });
await using workspace = await clone.mount();
process.exitCode = await runIn(workspace.path, command);

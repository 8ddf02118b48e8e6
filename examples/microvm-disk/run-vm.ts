/**
 * `run-vm.ts IMAGE COMMAND [ARGUMENT…]`: runs a virtual machine monitor with a disk of its own, a clone of
 * IMAGE. Each `{disk}` in the arguments becomes the disk's path; ends with the command's exit code. The
 * disk goes with this program, however it ends.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { constants } from "node:os";
import { connect } from "@thinpool/sdk";

const [image, command, ...args] = process.argv.slice(2);
if (image === undefined || command === undefined) {
  process.stderr.write("usage: run-vm.ts IMAGE COMMAND [ARGUMENT…]\n");
  process.exit(2);
}
await using client = await connect();
// Ephemeral: the daemon removes it with its last reference, and the reference with this client.
const clone = await client.clone({ origin: image, name: `vm-${randomUUID()}`, ephemeral: true });
await using disk = await clone.activate();

const withDisk = args.map((arg) => arg.replaceAll("{disk}", disk.path));
// If this program is killed, the kernel kills the machine: who has the disk open keeps it.
const guarded = ["--pdeathsig", "KILL", "--", command, ...withDisk];
const machine = spawn("setpriv", guarded, { stdio: "inherit" });
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => void machine.kill(name));
const [code, signal] = (await once(machine, "close")) as [number | null, NodeJS.Signals | null];
// As a shell has it: 128 and the signal's number where a signal ended the command.
process.exitCode = signal === null ? (code ?? 1) : 128 + constants.signals[signal];

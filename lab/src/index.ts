import { PassThrough, type Readable } from "node:stream";
import { runHost } from "./host.ts";
import { defaultTimeoutSeconds, type LabOptions } from "./options.ts";
import { prepare } from "./prepare.ts";
import { qemu } from "./qemu.ts";
import { runGuest, type LabResult, type LabStreams } from "./run.ts";
import { uml } from "./uml.ts";

export { allowedCpus } from "./cpu.ts";
export { exitCodes, type LabEnd } from "./exit-codes.ts";
export { examine, healthText, type Health, type KernelHealth } from "./doctor.ts";
export { LabError } from "./lab-error.ts";
export type { LabDisk, LabKernel, LabOptions } from "./options.ts";
export { installMissing, prepare } from "./prepare.ts";
export { compiler, type Requirement } from "./requirements.ts";
export type { LabResult, LabStreams } from "./run.ts";

/**
 * Prepares the machine where needed and runs a command in the lab; what is not given has the command line's default.
 *
 * Streams not given are this process's own. Throws {@link LabError} where the lab can't run.
 */
export async function runLab(
  options: Partial<LabOptions> & Pick<LabOptions, "command">,
  streams: Partial<LabStreams> = {},
  abort: AbortSignal = new AbortController().signal,
): Promise<LabResult> {
  const full: LabOptions = {
    kernel: "uml",
    timeoutSeconds: defaultTimeoutSeconds,
    disks: [],
    udev: false,
    env: {},
    cwd: process.cwd(),
    stdin: false,
    verbose: false,
    ...options,
  };
  const ends: LabStreams = { stdout: process.stdout, stderr: process.stderr, ...streams };
  const say = (line: string): void => void ends.stderr.write(`lab: ${line}\n`);
  const kernel = prepare(full.kernel, say);
  if (full.kernel === "host") return runHost(full, ends, abort);
  if (kernel === undefined) return runGuest(uml, full, ends, abort);
  for (let boot = 1; ; boot += 1) {
    const result = await runGuest(qemu(kernel), full, ends, abort);
    if (boot === qemuBoots || !panickedAtBoot(result)) return result;
    say(`the emulated kernel panicked at boot, before the command; boot ${boot + 1}`);
  }
}

/**
 * Boots of qemu that one run may take. Emulated CPUs that run at the same time now and then trip
 * over the kernel patching its own code (seen: "Oops: int3" in sched_clock_cpu, 1 boot of 12).
 * Only a panic before the command is answered with another boot: one during it is a result.
 */
const qemuBoots = 3;

function panickedAtBoot(result: LabResult): boolean {
  return (
    result.end === "failed" && result.bootMs === undefined && /Kernel panic/.test(result.console)
  );
}

/** As {@link runLab}, with the output as a result. */
export async function captureLab(
  options: Partial<LabOptions> & Pick<LabOptions, "command">,
  streams: Pick<LabStreams, "stdin"> = {},
  abort?: AbortSignal,
): Promise<LabResult & { readonly stdout: Buffer; readonly stderr: Buffer }> {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  const collected = Promise.all([collect(stdout), collect(stderr)]);
  // Where the lab can't run its error is the one to tell, and these two end unfinished.
  collected.catch(() => undefined);
  try {
    const result = await runLab(options, { ...streams, stdout, stderr }, abort);
    stdout.end();
    stderr.end();
    const [out, err] = await collected;
    return { ...result, stdout: out, stderr: err };
  } finally {
    stdout.destroy();
    stderr.destroy();
  }
}

async function collect(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

import { PassThrough, type Readable } from "node:stream";
import { LabError } from "./lab-error.ts";
import { defaultTimeoutSeconds, type LabOptions } from "./options.ts";
import { runGuest, type LabResult, type LabStreams } from "./run.ts";
import { uml } from "./uml.ts";

export { exitCodes, type LabEnd } from "./exit-codes.ts";
export { LabError } from "./lab-error.ts";
export type { LabDisk, LabKernel, LabOptions } from "./options.ts";
export type { LabResult, LabStreams } from "./run.ts";

/**
 * Runs a command in the lab; what is not given has the command line's default.
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
  switch (full.kernel) {
    case "uml":
      return runGuest(uml, full, ends, abort);
    case "qemu":
    case "host":
      throw new LabError(`kernel ${full.kernel} is not there yet`);
  }
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

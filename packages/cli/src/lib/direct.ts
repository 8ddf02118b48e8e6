/**
 * `--direct`: the same commands without a daemon. One is started inside this process for the length
 * of the command, on a socket in a folder that only root can enter; so policy, records and output are
 * the same as through the daemon, and the pool's lock keeps both from ever being on one pool.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Logger, startDaemon } from "@thinpool/mount-helper";
import { connect, type Client } from "@thinpool/sdk";
import { linuxKernel } from "@thinpool/thinpool";
import { CommandError } from "./errors.ts";
import { withInterruption } from "./interruption.ts";

/** Root's own folder: nobody else may put a link there. */
const RUN_FOLDER = "/run";

export interface DirectOptions {
  readonly folder: string;
  /** Whether the daemon's log is shown, on stderr. */
  readonly verbose: boolean;
}

/**
 * Leaves the pool taken down where nothing of it is in use, else as it was: after Ctrl-C as well, for which it
 * waits until what has begun has ended. A second one ends the process at once, as a crash does.
 */
export function withDirectClient<Result>(
  options: DirectOptions,
  work: (client: Client) => Promise<Result>,
): Promise<Result> {
  return withInterruption((signal) => workDirectly(options, work, signal));
}

async function workDirectly<Result>(
  { folder, verbose }: DirectOptions,
  work: (client: Client) => Promise<Result>,
  signal: AbortSignal,
): Promise<Result> {
  if (process.geteuid?.() !== 0) {
    throw new CommandError({
      code: "NOT_ROOT",
      operation: "--direct",
      object: folder,
      reason: "it works on the kernel itself, and only root may",
      hint: "Run it as root, or leave --direct out to ask the daemon.",
    });
  }
  await using stack = new AsyncDisposableStack();
  const place = await mkdtemp(join(RUN_FOLDER, "thinpool-direct-"));
  stack.defer(() => rm(place, { recursive: true, force: true }));
  const kernel = stack.use(linuxKernel());
  const socketPath = join(place, "thinpool.sock");
  const daemon = await startDaemon({ folder, kernel, socketPath, logger: logger(verbose) });
  let teardown = false;
  stack.defer(() => daemon.stop({ teardown }));
  const client = stack.use(await connect({ socketPath }));
  try {
    if (signal.aborted) throw cancelled(folder);
    return await work(client);
  } finally {
    // Whether it was done or not.
    teardown = await isUnused(client).catch(() => false);
  }
}

function cancelled(folder: string): CommandError {
  return new CommandError({
    code: "CANCELLED",
    operation: "--direct",
    object: folder,
    reason: "cancelled",
    hint: "Nothing was done.",
  });
}

async function isUnused(client: Client): Promise<boolean> {
  const [{ activeCount }, mounts] = await Promise.all([client.status(), client.mounts()]);
  return activeCount === 0 && mounts.length === 0;
}

function logger(verbose: boolean): Logger {
  return {
    log(level, event, fields) {
      if (verbose) process.stderr.write(`${level} ${event} ${JSON.stringify(fields ?? {})}\n`);
    },
  };
}

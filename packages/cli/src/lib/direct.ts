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

/** Root's own folder: nobody else may put a link there. */
const RUN_FOLDER = "/run";

export interface DirectOptions {
  readonly folder: string;
  /** Whether the daemon's log is shown, on stderr. */
  readonly verbose: boolean;
}

/** Leaves the pool taken down where nothing of it is in use, else as it was. */
export async function withDirectClient<Result>(
  { folder, verbose }: DirectOptions,
  work: (client: Client) => Promise<Result>,
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
  const result = await work(client);
  const [{ activeCount }, mounts] = await Promise.all([client.status(), client.mounts()]);
  teardown = activeCount === 0 && mounts.length === 0;
  return result;
}

function logger(verbose: boolean): Logger {
  return {
    log(level, event, fields) {
      if (verbose) process.stderr.write(`${level} ${event} ${JSON.stringify(fields ?? {})}\n`);
    },
  };
}

/** A daemon over the simulated kernel, and commands run against it, all in this process. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { jsonLogger, startDaemon } from "@thinpool/mount-helper";
import { type Client, connect } from "@thinpool/sdk";
import { createPool } from "@thinpool/thinpool";
import { json, MEMORY_FOLDER, ok, type Outcome, refused, run } from "./in-process.test.support.ts";

export const DEVICE_BYTES: bigint = 16n << 20n;
const BACKING = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;

export interface Bench extends AsyncDisposable {
  readonly client: Client;
  /** The daemon's. */
  readonly kernel: SimKernel;
  /** The daemon's mounts are in it; whatever the test makes may be too. */
  readonly parent: string;
  run(...args: string[]): Promise<Outcome>;
  /** Runs it against the daemon; it must end with 0. */
  ok(...args: string[]): Promise<string>;
  json(...args: string[]): Promise<unknown>;
  /** One clear line and a hint, the exit code and the code, as text and as --json; the text. */
  refused(exitCode: number, code: string, ...args: string[]): Promise<string>;
}

/** A daemon with the device "base" of 16 MiB of whoever runs this. One at a time: the environment names it. */
export async function bench(): Promise<Bench> {
  await using undo = new AsyncDisposableStack();
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-cli-"));
  undo.defer(() => rm(parent, { recursive: true }));
  const kernel = createSimKernel({ files: true });
  const folder = join(parent, "pool");
  const pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.detach();
  const socketPath = join(parent, "thinpool.sock");
  const mountRoot = join(parent, "mounts");
  const blockRoot = join(parent, "blocks");
  const logger = jsonLogger(() => undefined);
  undo.use(
    await startDaemon({
      folder,
      socketPath,
      kernel,
      mountRoot,
      blockRoot,
      logger,
      workers: "in-process",
    }),
  );
  const client = undo.use(await connect({ socketPath }));
  process.env["THINPOOL_SOCKET"] = socketPath;
  undo.defer(() => {
    delete process.env["THINPOOL_SOCKET"];
  });
  const parts = undo.move();
  return {
    client,
    kernel,
    parent,
    run: (...args) => run(kernel, args),
    ok: (...args) => ok(kernel, args),
    json: (...args) => json(kernel, args),
    refused: (exitCode, code, ...args) => refused(kernel, args, { exitCode, code }),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

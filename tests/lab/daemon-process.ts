/** A pool with the image "base" and thinpoold serving it, as a process of its own, for one test file. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { connect } from "@thinpool/sdk";
import type { Kernel } from "@thinpool/thinpool";
import { createPool } from "@thinpool/thinpool";
import { NODE_FLAGS, THINPOOLD } from "./runtime.ts";

/** Starting Node and opening a pool in the lab. */
const START_TIMEOUT_MS = 60_000;
const BACKING = { type: "files", dataBytes: 512n << 20n, metadataBytes: 8n << 20n } as const;
const DEFAULT_IMAGE_BYTES = 64n << 20n;
/** As without a file, and block devices: whoever may connect may have those. */
const POLICY = {
  version: 1,
  rules: [
    {
      name: "users",
      users: "all",
      allow: { clone: { public: true } },
      mount: { blockDevices: true },
    },
  ],
};
/** Debian's own group of all users. */
export const USERS: { readonly name: string; readonly gid: number } = { name: "users", gid: 100 };

export interface DaemonProcess extends AsyncDisposable {
  readonly folder: string;
  readonly socketPath: string;
  /** What it logged since its last start. */
  log(): string;
  /** SIGKILL, and started anew. */
  killAndRestart(): Promise<void>;
}

export async function daemonProcess(
  kernel: Kernel,
  options: {
    readonly imageBytes?: bigint;
    /** In which the pool's folder is made. */
    readonly parent?: string;
    /** Options of thinpoold besides. */
    readonly more?: readonly string[];
  } = {},
): Promise<DaemonProcess> {
  const parent = await mkdtemp(join(options.parent ?? "/tmp", "thinpool-lab-"));
  const folder = join(parent, "pool");
  const socketPath = `/run/thinpool/${basename(parent)}.sock`;
  const pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: options.imageBytes ?? DEFAULT_IMAGE_BYTES });
  await pool.detach();
  const policyFile = join(parent, "policy.json");
  await writeFile(policyFile, JSON.stringify(POLICY), { mode: 0o600 });
  let log = "";
  const start = async (): Promise<ChildProcess> => {
    log = "";
    const args = ["--folder", folder, "--socket", socketPath, "--socket-group", USERS.name];
    args.push("--policy", policyFile, ...(options.more ?? []));
    const child = spawn(process.execPath, [...NODE_FLAGS, THINPOOLD, ...args, "--teardown"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log += text;
      if (log.includes('"event":"started"')) resolve(undefined);
    });
    child.once("exit", (code) =>
      reject(new Error(`thinpoold ended with ${String(code)}:\n${log}`)),
    );
    const timer = setTimeout(() => reject(new Error(`no start:\n${log}`)), START_TIMEOUT_MS);
    await promise;
    clearTimeout(timer);
    return child;
  };
  const end = async (
    child: ChildProcess,
    signal: "SIGTERM" | "SIGKILL",
  ): Promise<number | null> => {
    if (child.exitCode !== null) return child.exitCode;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  };
  let child = await start();
  {
    await using root = await connect({ socketPath });
    await root.rights.publish({ name: "base" });
  }
  return {
    folder,
    socketPath,
    log: () => log,
    killAndRestart: async () => {
      await end(child, "SIGKILL");
      child = await start();
    },
    [Symbol.asyncDispose]: async () => {
      const code = await end(child, "SIGTERM");
      await rm(parent, { recursive: true, force: true });
      if (code !== 0) throw new Error(`thinpoold ended with ${String(code)}:\n${log}`);
    },
  };
}

/**
 * The built command line in a real kernel, for one test file: a folder where every user can run it, and
 * the daemon that it serves.
 */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { connect, hasCode } from "@thinpool/sdk";
import type { CliOptions, Runtime } from "../e2e/cli-process.ts";
import { cliArguments, PLAIN_FAILURE, thinpool } from "../e2e/cli-process.ts";

/** The group "users" of Debian's base system: its members may connect. */
const GROUP = { name: "users", gid: 100 };
export interface Ids {
  readonly uid: number;
  readonly gid: number;
}

export const USER: Ids = { uid: 1000, gid: GROUP.gid };
export const STRANGER: Ids = { uid: 1001, gid: GROUP.gid };
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 50;
const STOP_TIMEOUT_MS = 60_000;

/** A program to its end. */
export const run: (
  program: string,
  args: readonly string[],
  options?: { readonly uid?: number; readonly gid?: number; readonly env?: NodeJS.ProcessEnv },
) => Promise<{ readonly stdout: string; readonly stderr: string }> = promisify(execFile);

export interface CliWorld extends AsyncDisposable {
  readonly scratch: string;
  /** Of the pool; nothing is there yet. */
  readonly folder: string;
  readonly socketPath: string;
  /** What tells the command line of the two. */
  readonly env: Readonly<Record<string, string>>;
  /** Node and the sources bound to where every user can reach them: they may lie in root's home. */
  readonly runtime: Runtime;
  /** A command that must succeed; its output. */
  readonly ok: (args: readonly string[], options?: CliOptions) => Promise<string>;
  readonly json: <Value>(args: readonly string[], options?: CliOptions) => Promise<Value>;
  /** One clear line and a hint, no stack, nothing on stdout, the exit code; gives what it said. */
  readonly refused: (
    exitCode: number,
    args: readonly string[],
    options?: CliOptions,
  ) => Promise<string>;
  /** Writes a file as that user: in a user's own mount root has no id, and makes nothing. */
  readonly writeAs: (user: Ids, path: string, text: string) => Promise<void>;
  /** `thinpool serve --teardown` with these flags too, until it answers. */
  readonly serve: (flags?: readonly string[]) => Promise<void>;
  /** SIGTERM; it must end cleanly. */
  readonly stop: () => Promise<void>;
}

async function answers(socketPath: string): Promise<boolean> {
  try {
    const client = await connect({ socketPath });
    await client.close();
    return true;
  } catch (error) {
    // Not yet: the caller asks again until its limit.
    if (hasCode(error, "DAEMON_UNREACHABLE")) return false;
    throw error;
  }
}

export async function cliWorld(): Promise<CliWorld> {
  const scratch = await mkdtemp("/tmp/thinpool-cli-");
  const folder = join(scratch, "pool");
  const socketPath = join(scratch, "socket", "thinpool.sock");
  const env = { THINPOOL_SOCKET: socketPath, THINPOOL_FOLDER: folder };
  const runtime = { node: join(scratch, "node"), repository: join(scratch, "repository") };
  await mkdir(join(scratch, "socket"));
  await chmod(scratch, 0o755);
  await writeFile(runtime.node, "");
  await mkdir(runtime.repository);
  await run("mount", ["--bind", process.execPath, runtime.node]);
  await run("mount", ["--bind", join(import.meta.dirname, "../.."), runtime.repository]);
  let daemon: ChildProcess | undefined;
  const ok = async (args: readonly string[], options: CliOptions = {}): Promise<string> => {
    const { exitCode, stdout, stderr } = await thinpool(args, { env, runtime, ...options });
    assert.equal(exitCode, 0, `${args.join(" ")}: ${stderr}`);
    return stdout.trim();
  };
  return {
    scratch,
    folder,
    socketPath,
    env,
    runtime,
    ok,
    json: async (args, options) => JSON.parse(await ok([...args, "--json"], options)) as never,
    refused: async (exitCode, args, options = {}) => {
      const result = await thinpool(args, { env, runtime, ...options });
      assert.match(result.stderr, PLAIN_FAILURE);
      assert.deepEqual([result.exitCode, result.stdout], [exitCode, ""], result.stderr);
      return result.stderr;
    },
    writeAs: async (user, path, text) => {
      const script = `fs.writeFileSync(${JSON.stringify(path)}, ${JSON.stringify(text)})`;
      await run(runtime.node, ["-e", script], user);
    },
    serve: async (flags = []) => {
      const own = ["--socket-group", GROUP.name, "--mount-root", join(scratch, "mounts")];
      daemon = spawn(process.execPath, cliArguments(["serve", "--teardown", ...own, ...flags]), {
        env: { PATH: process.env["PATH"], ...env },
        stdio: ["ignore", "inherit", "inherit"],
      });
      const deadline = Date.now() + READY_TIMEOUT_MS;
      while (!(await answers(socketPath))) {
        assert.equal(daemon.exitCode, null, "the daemon ended before it was ready");
        assert.ok(Date.now() < deadline, `the daemon was not ready in ${READY_TIMEOUT_MS} ms`);
        await delay(READY_POLL_MS);
      }
    },
    stop: async () => {
      assert.ok(daemon !== undefined);
      const ended = once(daemon, "exit", { signal: AbortSignal.timeout(STOP_TIMEOUT_MS) });
      daemon.kill("SIGTERM");
      assert.deepEqual(await ended, [0, null]);
      daemon = undefined;
    },
    [Symbol.asyncDispose]: async () => {
      daemon?.kill("SIGKILL");
      await run("umount", [runtime.node]);
      await run("umount", [runtime.repository]);
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

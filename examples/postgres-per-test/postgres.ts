/** PostgreSQL servers on data folders that are copy-on-write clones of one that was started before. */
import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Client } from "@thinpool/sdk";

const PSQL = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"];
const READY = "database system is ready to accept connections";

export interface Database extends AsyncDisposable {
  /** For any PostgreSQL client. */
  readonly url: string;
  /** What psql prints of it, without headings. */
  readonly query: (sql: string) => Promise<string>;
}

/** Runs a program to its end; gives what it printed. */
export async function run(program: string, args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(program, args)).stdout.trim();
}

/** Where Debian has initdb and postgres: /usr/lib/postgresql/15/bin. */
export async function binFolder(): Promise<string> {
  const versions = await readdir("/usr/lib/postgresql");
  const newest = Math.max(...versions.map(Number));
  return `/usr/lib/postgresql/${newest}/bin`;
}

/** Reached by a Unix socket only, so that any number of them can run. Disposing of it stops it. */
export async function startServer(dataFolder: string): Promise<Database> {
  await using undo = new AsyncDisposableStack();
  const socketFolder = await mkdtemp(join(tmpdir(), "postgres-"));
  undo.defer(() => rm(socketFolder, { recursive: true, force: true }));
  // fsync: the data is thrown away, or lies on a device that is unmounted before it is cloned.
  const settings = { listen_addresses: "", unix_socket_directories: socketFolder, fsync: "off" };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  // If this process is killed the server ends too; who works in a mount keeps it.
  const bin = await binFolder();
  const postgres = [join(bin, "postgres"), "-D", dataFolder, ...flags];
  const server = spawn("setpriv", ["--pdeathsig", "QUIT", "--", ...postgres], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = once(server, "close");
  undo.defer(async () => {
    // "Fast shutdown": sessions are ended, the data is left as after a checkpoint.
    server.kill("SIGINT");
    await exited;
  });
  let log = "";
  await new Promise<void>((resolve, reject) => {
    server.stderr.setEncoding("utf8").on("data", (text: string) => {
      log += text;
      if (log.includes(READY)) resolve();
    });
    exited.then(() => reject(new Error(`PostgreSQL did not start:\n${log}`)), reject);
  });
  const url = `postgresql://postgres@/postgres?host=${encodeURIComponent(socketFolder)}`;
  const query = (sql: string): Promise<string> =>
    run(join(bin, "psql"), [...PSQL, "--command", sql, url]);
  const parts = undo.move();
  return { url, query, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

/** A server of one's own on a clone of `base`; disposing of it stops the server, and the clone goes. */
export async function freshDatabase(
  client: Client,
  options: { readonly base: string; readonly signal?: AbortSignal },
): Promise<Database> {
  const { base: origin, ...call } = options;
  await using undo = new AsyncDisposableStack();
  const name = `test-${randomUUID()}`;
  const clone = await client.clone({ ...call, origin, name, ephemeral: true });
  const mount = undo.use(await clone.mount(call));
  const server = undo.use(await startServer(join(mount.path, "data")));
  const parts = undo.move();
  return { ...server, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

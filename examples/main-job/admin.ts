/**
 * The main job, from an empty machine to an empty machine. Runs as root; does what an admin does,
 * with the command line; the unprivileged half is client.ts, run as uid 1000.
 * Ends with the table on stdout and one line of JSON.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { connect } from "@thinpool/sdk";
import {
  mustHold,
  record,
  recorded,
  reportTable,
  type StepReport,
  step,
  takeOver,
} from "./report.ts";
import { treeChecksum, treeManifest } from "./tree.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const FOLDER = process.env["DEMO_FOLDER"] ?? "/var/lib/thinpool";
const SOURCE = `${ROOT}/node_modules`;
/**
 * The tree without the compilers' binaries and without what earlier runs left in its cache: each clone is read
 * whole, in a guest with one CPU.
 */
const COPY =
  'cd "$1" && find . -path ./.cache -prune -o ! "(" -type f -size +1M ")" -print0 | tar -c -b 512 --null --no-recursion -T - | tar -x -b 512 -m --no-same-owner --no-same-permissions -C "$2"';
const CLIENT_UID = 1000;
/** Debian's group `users`: its members may connect. */
const CLIENT_GROUP = { name: "users", gid: 100 };
const DAEMON_READY_MS = 30_000;
const DAEMON_END_MS = 30_000;
const BASE = "base";

const run = promisify(execFile);
const packageJson = JSON.parse(readFileSync(`${ROOT}/packages/cli/package.json`, "utf8")) as {
  bin: { thinpool: string };
};
const CLI = `${ROOT}/packages/cli/${packageJson.bin.thinpool}`;

async function thinpool(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await run(process.execPath, [CLI, ...args, "--json"]).catch(
    (error: { stdout?: string; stderr?: string }) => {
      throw new Error(`thinpool ${args.join(" ")} failed:\n${error.stdout}${error.stderr}`);
    },
  );
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function startDaemon(): Promise<ChildProcess> {
  const daemon = spawn(
    process.execPath,
    [CLI, "serve", "--folder", FOLDER, "--socket-group", CLIENT_GROUP.name, "--teardown"],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  let log = "";
  const ready = new Promise<void>((resolve, reject) => {
    daemon.stderr?.on("data", (chunk: Buffer) => {
      log += chunk.toString("utf8");
      if (log.includes('"started"')) resolve();
    });
    daemon.once("exit", (code) => reject(new Error(`the daemon ended with ${code}:\n${log}`)));
    setTimeout(
      () => reject(new Error(`the daemon was not ready in time:\n${log}`)),
      DAEMON_READY_MS,
    ).unref();
  });
  await ready;
  return daemon;
}

function ended(daemon: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    daemon.once("exit", (code) => resolve(code));
    setTimeout(() => reject(new Error("the daemon did not end in time")), DAEMON_END_MS).unref();
  });
}

/** Runs one half of client.ts as uid 1000 and takes over its steps. */
async function asClient(phase: "fill" | "finish"): Promise<void> {
  const child = spawn(process.execPath, [`${ROOT}/examples/main-job/client.ts`, phase], {
    uid: CLIENT_UID,
    gid: CLIENT_GROUP.gid,
    env: { PATH: process.env["PATH"], HOME: "/" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => void (out += chunk.toString("utf8")));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  for (const line of out.split("\n").filter((text) => text !== "")) {
    takeOver(JSON.parse(line) as StepReport);
  }
  mustHold(code === 0, `the unprivileged program's '${phase}' part succeeds`);
}

const mebibytes = (sizeBytes: bigint): string => `${(Number(sizeBytes) / 2 ** 20).toFixed(1)} MiB`;
async function dataUsedBytes(): Promise<bigint> {
  await using client = await connect();
  return (await client.status()).dataUsedBytes;
}

/** Mounts the base, lets `use` work in it, and unmounts it. */
async function withBase<T>(use: (path: string) => Promise<T>): Promise<T> {
  await using client = await connect();
  await using mount = await client.mount({ device: BASE });
  return await use(mount.path);
}

async function mainJob(): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  await step("pool create", async () => {
    await thinpool("pool", "create", "--folder", FOLDER);
    return `a thin pool on two sparse files in ${FOLDER}`;
  });
  let daemon = await startDaemon();
  let baseChecksum = "";
  let copyBytes = 0n;
  try {
    await step("base", async () => {
      await thinpool("device", "create", BASE);
      return `device '${BASE}', 10 GiB, ext4`;
    });
    await step("fill", async () => {
      const emptyBytes = await dataUsedBytes();
      const manifest = await withBase(async (path) => {
        await run("/bin/sh", ["-c", COPY, "sh", SOURCE, path]);
        return await treeManifest(path);
      });
      baseChecksum = treeChecksum(manifest);
      copyBytes = (await dataUsedBytes()) - emptyBytes;
      return `node_modules copied into it: ${manifest.size} files, ${mebibytes(copyBytes)}`;
    });
    await thinpool("image", "publish", BASE);
    const beforeBytes = await dataUsedBytes();
    await asClient("fill");
    await step("space", async () => {
      const used = (await dataUsedBytes()) - beforeBytes;
      return `ten changed clones take ${mebibytes(used)}; ten copies would take ${mebibytes(10n * copyBytes)}`;
    });
    await step("SIGKILL", async () => {
      const end = ended(daemon);
      daemon.kill("SIGKILL");
      await end;
      daemon = await startDaemon();
      return "thinpoold killed with two clones mounted, and started again";
    });
    await asClient("finish");
    await step("base check", async () => {
      const checksum = treeChecksum(await withBase(treeManifest));
      mustHold(checksum === baseChecksum, "the base is as it was");
      return `the base is as it was (sha256 ${checksum.slice(0, 12)}…)`;
    });
    await step("shut down", async () => {
      const end = ended(daemon);
      daemon.kill("SIGTERM");
      mustHold((await end) === 0, "the daemon ends with exit code 0");
      return "thinpoold ended by SIGTERM with --teardown";
    });
  } finally {
    if (daemon.exitCode === null) daemon.kill("SIGKILL");
  }
  await step("nothing left", async () => {
    const dm = readdirSync("/sys/block").filter((name) => name.startsWith("dm-"));
    mustHold(dm.length === 0, `no dm device is left (${dm.join(", ")})`);
    const loops = (await run("/sbin/losetup", ["--list", "--noheadings"])).stdout.trim();
    mustHold(loops === "", `no loop device is left (${loops})`);
    const mounts = readFileSync("/proc/self/mountinfo", "utf8");
    mustHold(!mounts.includes("/run/thinpool/"), "no mount is left");
    return "no dm device, no loop device, no mount";
  });
  await step("thin_check", async () => {
    await run("/usr/sbin/thin_check", ["--", `${FOLDER}/metadata`]);
    return "the pool's metadata is clean";
  });
  rmSync(FOLDER, { recursive: true, force: true, maxRetries: 0 });
}

const started = performance.now();
let failure: string | undefined;
try {
  await mainJob();
} catch (error) {
  failure = error instanceof Error ? error.message : String(error);
  record({ step: "failed", what: failure.split("\n")[0] ?? "", durationMs: 0 });
  if (failure.includes("\n")) process.stderr.write(`${failure}\n`);
}
process.stdout.write(`${reportTable()}\n`);
process.stdout.write(
  `${JSON.stringify({
    demo: failure === undefined ? "passed" : "failed",
    steps: recorded().length,
    seconds: Math.round((performance.now() - started) / 1000),
  })}\n`,
);
process.exitCode = failure === undefined ? 0 : 1;

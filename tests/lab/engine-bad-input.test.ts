/** What the engine refuses, on the kernel: one clear line, and nothing has changed. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  createPool,
  type CreatePoolOptions,
  linuxKernel,
  openPool,
  PoolError,
  type PoolErrorCode,
  type ThinPool,
} from "@thinpool/thinpool";
import { outcomeOf, run, runAsUser, startModule, SUFFIX } from "./native-fixture.ts";
import { NODE_FLAGS } from "./runtime.ts";

const kernel = linuxKernel();
const BACKING = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
const DEVICE_BYTES = 16n << 20n;
const IMPORT = `import { createPool, linuxKernel, openPool } from "@thinpool/thinpool";`;
/** Prints a failure as a program would: one line. */
const REPORT = `.then(() => { console.log("no error"); }, (error) => {
  console.log(JSON.stringify({ code: error.code, message: error.message }));
  process.exitCode = 1;
});`;
let parent: string;
let folder: string;
let pool: ThinPool;

before(async () => {
  parent = await mkdtemp(`/tmp/engine-${SUFFIX}-`);
  folder = join(parent, "pool");
  pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
});

after(async () => {
  const { uuid } = pool;
  await pool.close();
  const devices = (await kernel.dm.listDevices()).filter(({ name }) =>
    name.startsWith(`thinpool-${uuid.slice(0, 8)}-`),
  );
  const loops = (await kernel.loops.list()).filter((loop) => loop.backingFile.startsWith(parent));
  const mounts = (await kernel.mounts.list()).filter((entry) =>
    entry.mountPoint.startsWith(parent),
  );
  await rm(parent, { recursive: true, force: true });
  assert.deepEqual([devices, loops, mounts], [[], [], []]);
});

function refusal(code: PoolErrorCode, reason: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof PoolError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.reason, reason);
    assert.ok(!error.message.includes("\n"), error.message);
    assert.ok(error.hint.length > 0);
    return true;
  };
}

/**
 * What must be the same before and after. A pool that was half made would hold loops on our files; other
 * tests' devices and loops come and go meanwhile.
 */
async function state(): Promise<Record<string, unknown>> {
  const prefix = `thinpool-${pool.uuid.slice(0, 8)}-`;
  const devices = (await kernel.dm.listDevices()).map(({ name }) => name);
  const loops = (await kernel.loops.list()).filter((loop) => loop.backingFile.startsWith(parent));
  return {
    devices: devices.filter((name) => name.startsWith(prefix)).toSorted(),
    loops: loops.map(({ path }) => path).toSorted(),
    transaction: (await pool.status()).transactionId,
    list: pool.list(),
    files: (await readdir(parent)).toSorted(),
  };
}

async function refused(
  body: () => Promise<unknown>,
  code: PoolErrorCode,
  reason: RegExp,
): Promise<void> {
  const earlier = await state();
  await assert.rejects(body, refusal(code, reason));
  assert.deepEqual(await state(), earlier);
}

function newPool(options: Partial<CreatePoolOptions>): Promise<ThinPool> {
  return createPool({ folder: join(parent, "other"), kernel, backing: BACKING, ...options });
}

test("a folder in use by another process is refused with that one's pid", async () => {
  const used = join(parent, "used");
  await mkdir(used);
  const child = startModule(
    `${IMPORT}
     const pool = await createPool({ folder: process.argv[1], kernel: linuxKernel(),
       backing: { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } });
     console.log("ready");
     process.stdin.resume();
     process.stdin.on("end", () => pool.close());`,
    used,
  );
  const outcome = outcomeOf(child);
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  const holder = new RegExp(`\\b${child.pid}\\b`);
  await refused(() => openPool({ folder: used, kernel }), "POOL_LOCKED", holder);
  await refused(() => newPool({ folder: used }), "POOL_LOCKED", holder);
  child.stdin?.end();
  assert.deepEqual(await outcome, { code: 0, stdout: "ready\n", stderr: "" });
  await rm(used, { recursive: true });
});

test("the same folder twice in one process, and a folder that has a pool", async () => {
  await refused(() => openPool({ folder, kernel }), "POOL_LOCKED", /process \d+/);
  const other = join(parent, "other");
  await (await newPool({})).close();
  await refused(() => newPool({}), "POOL_EXISTS", /holds pool/);
  await rm(other, { recursive: true });
});

test("a folder without a pool", async () => {
  await refused(() => openPool({ folder: parent, kernel }), "POOL_NOT_FOUND", /holds no pool/);
  await refused(() => openPool({ folder: "pool", kernel }), "POOL_OPTION_INVALID", /absolute/);
});

test("data or metadata too small, sizes and blocks that are none", async () => {
  const files = { type: "files" } as const;
  const cases = [
    [{ ...files, dataBytes: 1n << 20n }, undefined, "POOL_TOO_SMALL"],
    [{ ...files, metadataBytes: 1n << 20n }, undefined, "POOL_TOO_SMALL"],
    [{ ...files, dataBytes: (1n << 30n) + 1n }, undefined, "POOL_OPTION_INVALID"],
    [BACKING, 100n, "POOL_OPTION_INVALID"],
    [BACKING, 1n << 32n, "POOL_OPTION_INVALID"],
  ] as const;
  for (const [backing, blockSectors, code] of cases) {
    const options = blockSectors === undefined ? { backing } : { backing, blockSectors };
    await refused(() => newPool(options), code, /./);
  }
});

test("a data file that was cut, or is another", async () => {
  const other = await newPool({});
  await other.close();
  const data = join(parent, "other", "data");
  await truncate(data, 1 << 20);
  await refused(
    () => openPool({ folder: join(parent, "other"), kernel }),
    "POOL_MISMATCH",
    /bytes long/,
  );
  await rm(data);
  await refused(
    () => openPool({ folder: join(parent, "other"), kernel }),
    "POOL_MISMATCH",
    /missing/,
  );
  await rm(join(parent, "other"), { recursive: true });
});

async function loopOn(name: string, sizeBytes: number): Promise<string> {
  const backingFile = join(parent, name);
  await writeFile(backingFile, "");
  await truncate(backingFile, sizeBytes);
  return (await kernel.loops.attach({ backingFile })).path;
}

async function checksum(name: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(join(parent, name)))
    .digest("hex");
}

function block(dataPath: string, metadataPath: string): Partial<CreatePoolOptions> {
  return { backing: { type: "block", dataPath, metadataPath } };
}

test("block devices: empty ones make a pool; a filesystem, another pool, one in use do not", async () => {
  const dataPath = await loopOn("disk-data", 64 << 20);
  const metadataPath = await loopOn("disk-metadata", 4 << 20);
  const ext4 = await loopOn("disk-ext4", 64 << 20);
  await run("/usr/sbin/mkfs.ext4", "-q", ext4);
  const original = await checksum("disk-ext4");
  const notEmpty = "POOL_DEVICE_NOT_EMPTY";
  await refused(() => newPool(block(ext4, metadataPath)), notEmpty, /carries ext4/);
  await refused(() => newPool(block(dataPath, ext4)), notEmpty, /carries ext4/);
  assert.equal(await checksum("disk-ext4"), original);
  await refused(() => newPool(block(dataPath, dataPath)), notEmpty, /both/);
  const missing = join(parent, "none");
  const invalid = "POOL_OPTION_INVALID";
  await refused(() => newPool(block(missing, metadataPath)), invalid, /no such device/);
  const file = join(parent, "disk-ext4");
  await refused(() => newPool(block(file, metadataPath)), invalid, /no block device/);

  const other = await newPool(block(dataPath, metadataPath));
  await other.createDevice({ name: "a", sizeBytes: DEVICE_BYTES });
  assert.equal((await other.status()).backing, "block");
  const third = join(parent, "third");
  const spare = await loopOn("disk-spare", 64 << 20);
  const onSpare = (data: string, metadata: string) => () =>
    newPool({ folder: third, ...block(data, metadata) });
  await refused(onSpare(spare, metadataPath), notEmpty, /thin/);
  await refused(onSpare(dataPath, spare), notEmpty, /in use|carries/);
  await other.close();
  await refused(onSpare(spare, metadataPath), notEmpty, /thin/);
  const again = await openPool({ folder: join(parent, "other"), kernel });
  assert.equal(again.has({ name: "a" }), true);
  await again.close();
  // A closed pool on block devices leaves the loops alone: they are not its own.
  for (const path of [dataPath, metadataPath, ext4, spare]) await kernel.loops.detach(path);
  await rm(join(parent, "other"), { recursive: true });
});

test("names that are none", async () => {
  const names = ["", "a/b", "a\0b", "..", "-a", "a b", "ä", "x".repeat(65)];
  const earlier = await state();
  const none = refusal("POOL_NAME_INVALID", /name/);
  for (const name of names) {
    await assert.rejects(pool.createDevice({ name, sizeBytes: DEVICE_BYTES }), none);
    await assert.rejects(pool.snapshot({ origin: "base", name }), none);
    await assert.rejects(pool.snapshot({ origin: name, name: "clone" }), none);
    await assert.rejects(pool.remove({ name }), none);
  }
  assert.deepEqual(await state(), earlier);
});

test("a second base of the same name; a device that is not there; sizes that are none", async () => {
  await refused(
    () => pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES }),
    "DEVICE_EXISTS",
    /exists/,
  );
  await refused(() => pool.snapshot({ origin: "base", name: "base" }), "DEVICE_EXISTS", /exists/);
  await refused(() => pool.remove({ name: "none" }), "DEVICE_NOT_FOUND", /no such device/);
  await refused(
    () => pool.createDevice({ name: "odd", sizeBytes: 4097n << 10n }),
    "POOL_OPTION_INVALID",
    /size/,
  );
});

test("a filesystem that does not fit is mkfs's own message, and the device is gone again", async () => {
  const earlier = await state();
  const tiny = { name: "tiny", sizeBytes: 1n << 20n, filesystem: "xfs" } as const;
  await assert.rejects(pool.createDevice(tiny), refusal("POOL_KERNEL", /./));
  // It was made and removed again: two transactions.
  const later = await state();
  assert.deepEqual(later, { ...earlier, transaction: later["transaction"] });
});

test("removing, deactivating or closing what is mounted", async () => {
  const { device } = await pool.snapshot({ origin: "base", name: "mounted", activate: true });
  const target = join(parent, "mnt");
  await mkdir(target);
  await kernel.mounts.mount({ source: device.path, type: "ext4", target, flags: {} });
  await writeFile(join(target, "file"), "here");
  await refused(() => pool.remove({ name: "mounted" }), "DEVICE_BUSY", /./);
  await refused(() => pool.deactivate({ name: "mounted" }), "DEVICE_BUSY", /./);
  await refused(() => pool.close(), "DEVICE_BUSY", /open or mounted/);
  assert.equal(await readFile(join(target, "file"), "utf8"), "here");
  await kernel.mounts.unmount(target);
  await pool.remove({ name: "mounted" });
  await rm(target, { recursive: true });
});

test("without the capability: one line, and no folder is made", async () => {
  const open = join(parent, "open");
  await mkdir(open, { mode: 0o777 });
  const outcome = await runAsUser(
    IMPORT,
    `await createPool({ folder: process.argv[1], kernel: linuxKernel() })${REPORT}`,
    join(open, "pool"),
  );
  assert.equal(outcome.code, 1, outcome.stderr);
  assert.match(outcome.stdout, /POOL_PERMISSION/);
  assert.deepEqual(await readdir(open), []);
});

/** As a kernel without dm looks to a program: no control node, and none of it in /proc/misc. */
const WITHOUT_DM = `set -e
  mount -t tmpfs none /dev/mapper
  grep -v device-mapper /proc/misc > "$1/misc"
  mount --bind "$1/misc" /proc/misc
  shift
  exec "$@"`;

test("a kernel without dm: one line on what is missing, and no folder is made", async () => {
  const child = startModule(
    `import { spawnSync } from "node:child_process";
     const [, script, scratch, code, folder] = process.argv;
     const flags = [...${JSON.stringify(NODE_FLAGS)}, "--input-type=module", "-e", code, folder];
     const child = spawnSync("/usr/bin/unshare",
       ["-m", "sh", "-c", script, "sh", scratch, process.execPath, ...flags],
       { stdio: "inherit" });
     process.exitCode = child.status ?? 99;`,
    WITHOUT_DM,
    parent,
    `${IMPORT} await createPool({ folder: process.argv[1], kernel: linuxKernel() })${REPORT}`,
    join(parent, "no-dm"),
  );
  const outcome = await outcomeOf(child);
  assert.equal(outcome.code, 1, outcome.stderr);
  assert.match(outcome.stdout, /POOL_UNSUPPORTED/);
  assert.match(outcome.stdout, /device-mapper/);
  assert.equal(existsSync(join(parent, "no-dm")), false);
});

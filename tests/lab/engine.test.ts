/** The engine's whole life against the kernel: clones that don't see each other, and nothing left. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { createPool, linuxKernel, openPool, type ThinPool } from "@thinpool/thinpool";
import { NODE_FLAGS } from "./runtime.ts";

const run = promisify(execFile);
const kernel = linuxKernel();
const BACKING = { type: "files", dataBytes: 1n << 30n, metadataBytes: 8n << 20n } as const;
const DEVICE_BYTES = 64n << 20n;
let parent: string;
let folder: string;
/** The pool's, for telling its dm devices from those of other tests. */
let uuid: string;

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-engine-");
  folder = join(parent, "pool");
});

after(async () => {
  const prefix = `thinpool-${uuid.slice(0, 8)}-`;
  const devices = (await kernel.dm.listDevices()).filter(({ name }) => name.startsWith(prefix));
  const loops = (await kernel.loops.list()).filter((loop) => loop.backingFile.startsWith(parent));
  const mounts = (await kernel.mounts.list()).filter((entry) =>
    entry.mountPoint.startsWith(parent),
  );
  await rm(parent, { recursive: true, force: true });
  assert.deepEqual([devices, loops, mounts], [[], [], []]);
});

async function mounted<T>(
  path: string,
  name: string,
  body: (at: string) => Promise<T>,
): Promise<T> {
  const target = join(parent, `mnt-${name}`);
  await mkdir(target, { recursive: true });
  await kernel.mounts.mount({ source: path, type: "ext4", target, flags: { noSuid: true } });
  try {
    return await body(target);
  } finally {
    await kernel.mounts.unmount(target);
  }
}

async function checksum(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

/** Through a loop device: thin_check opens with O_DIRECT, which a tmpfs does not know. */
async function checkMetadata(): Promise<void> {
  const loop = await kernel.loops.attach({ backingFile: join(folder, "metadata") });
  try {
    await run("/usr/sbin/thin_check", [loop.path]);
  } finally {
    await kernel.loops.detach(loop.path);
  }
}

async function withActive<T>(
  pool: ThinPool,
  name: string,
  body: (at: string) => Promise<T>,
): Promise<T> {
  const { device } = await pool.activate({ name });
  try {
    return await mounted(device.path, name, body);
  } finally {
    await pool.deactivate({ name });
  }
}

test("clones of an ext4 base are isolated, and all is taken down", async () => {
  const pool = await createPool({ folder, kernel, backing: BACKING });
  uuid = pool.uuid;
  const { device: base } = await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  assert.equal(base.active, false);
  const content = Buffer.alloc(3 << 20, "base");
  await withActive(pool, "base", (at) => writeFile(join(at, "file"), content));
  const original = createHash("sha256").update(content).digest("hex");

  for (const name of ["clone-1", "clone-2"]) {
    const { device } = await pool.snapshot({ origin: "base", name, activate: true });
    assert.equal(device.active, true);
    await mounted(device.path, name, async (at) => {
      assert.equal(await checksum(join(at, "file")), original);
      await writeFile(join(at, "file"), name);
    });
    await pool.deactivate({ name });
  }
  await withActive(pool, "clone-1", async (at) => {
    assert.equal(await readFile(join(at, "file"), "utf8"), "clone-1");
  });
  await withActive(pool, "base", async (at) => {
    assert.equal(await checksum(join(at, "file")), original);
    // The origin is mounted and written to: suspended and resumed around the snapshot.
    await writeFile(join(at, "late"), "late");
    await pool.snapshot({ origin: "base", name: "clone-3" });
    await writeFile(join(at, "later"), "later");
  });
  await withActive(pool, "clone-3", async (at) => {
    assert.equal(await readFile(join(at, "late"), "utf8"), "late");
    await assert.rejects(stat(join(at, "later")));
  });
  const status = await pool.status();
  assert.equal(status.state, "working");
  assert.equal(status.transactionId, 4n);
  assert.ok(status.dataUsedBytes > 0n && status.dataUsedBytes < 64n << 20n);
  for (const { name } of pool.list()) await pool.remove({ name });
  assert.equal((await pool.status()).dataUsedBytes, 0n);
  await pool.close();
  await checkMetadata();
});

test("xfs, and none; the pool opens again with all it had", async () => {
  const pool = await openPool({ folder, kernel });
  await pool.createDevice({ name: "raw", sizeBytes: DEVICE_BYTES, filesystem: "none" });
  await pool.createDevice({ name: "x", sizeBytes: 320n << 20n, filesystem: "xfs" });
  await pool.close();
  const again = await openPool({ folder, kernel });
  assert.deepEqual(
    again.list().map(({ name, filesystem }) => [name, filesystem]),
    [
      ["raw", "none"],
      ["x", "xfs"],
    ],
  );
  await again.remove({ name: "raw" });
  await again.remove({ name: "x" });
  await again.close();
  await checkMetadata();
});

/** Ends by SIGKILL with a clone active; says its name's path first. */
const KILLED = `
  import { linuxKernel, openPool } from "@thinpool/thinpool";
  const pool = await openPool({ folder: process.argv[1], kernel: linuxKernel() });
  await pool.createDevice({ name: "kept", sizeBytes: ${DEVICE_BYTES}n });
  const { device } = await pool.snapshot({ origin: "kept", name: "live", activate: true });
  console.log(device.path);
  setInterval(() => {}, 1000);
`;

test("what a killed process left live is adopted, mounted or not", async () => {
  const child = spawn(
    process.execPath,
    [...NODE_FLAGS, "--input-type=module", "-e", KILLED, folder],
    { cwd: import.meta.dirname, stdio: ["ignore", "pipe", "inherit"] },
  );
  const [path] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
  const target = join(parent, "mnt-live");
  await mkdir(target);
  await kernel.mounts.mount({ source: path.trim(), type: "ext4", target, flags: {} });
  child.kill("SIGKILL");
  await once(child, "exit");

  const pool = await openPool({ folder, kernel });
  assert.equal(pool.get({ name: "live" }).active, true);
  assert.equal(pool.get({ name: "kept" }).active, false);
  await assert.rejects(pool.close(), { code: "DEVICE_BUSY" });
  await assert.rejects(pool.remove({ name: "live" }), { code: "DEVICE_BUSY" });
  await kernel.mounts.unmount(target);
  await pool.detach();
  const again = await openPool({ folder, kernel });
  await again.remove({ name: "live" });
  await again.remove({ name: "kept" });
  await again.close();
  await checkMetadata();
});

/** Space on the kernel: pools that fill, grow, wait, refuse, and give back what they no longer need. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, open, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  createPool,
  type CreatePoolOptions,
  linuxKernel,
  openPool,
  PoolError,
  type PoolEvent,
  type SpacePolicyChange,
  type ThinPool,
} from "@thinpool/thinpool";
import { MIB, outcomeOf, run, startModule, SUFFIX } from "./native-fixture.ts";

const kernel = linuxKernel();
const mib = (count: number): bigint => BigInt(count) * BigInt(MIB);
const BLOCK_SECTORS = 128n;
/** Growth only where a test asks for it; the guest's disk is its memory. */
const STILL: SpacePolicyChange = {
  dataGrowth: { enabled: false },
  metadataGrowth: { enabled: false },
  hostReserveBytes: 0n,
  dataFloorBytes: 0n,
  metadataFloorBytes: 0n,
};
const REMOVALS = 8;
let parent: string;
let pools = 0;

before(async () => {
  parent = await mkdtemp(`/tmp/space-${SUFFIX}-`);
  source = join(parent, "source");
  await writeFile(source, randomBytes(48 * MIB));
});

after(async () => {
  const loops = (await kernel.loops.list()).filter((loop) => loop.backingFile.startsWith(parent));
  await kernel[Symbol.asyncDispose]();
  await rm(parent, { recursive: true, force: true });
  assert.deepEqual(loops, []);
});

async function withPool(
  options: Partial<CreatePoolOptions>,
  body: (pool: ThinPool, folder: string) => Promise<void>,
): Promise<void> {
  pools += 1;
  const folder = join(parent, `pool-${pools}`);
  const pool = await createPool({
    folder,
    kernel,
    backing: { type: "files", dataBytes: mib(16), metadataBytes: mib(4) },
    blockSectors: BLOCK_SECTORS,
    policy: STILL,
    monitor: false,
    ...options,
  });
  try {
    await body(pool, folder);
  } finally {
    await pool.close();
    await rm(folder, { recursive: true });
  }
}

async function activeDevice(pool: ThinPool, name: string, sizeBytes: bigint): Promise<string> {
  await pool.createDevice({ name, sizeBytes, filesystem: "none" });
  return (await pool.activate({ name })).device.path;
}

/** What the writers write: made once, 48 MiB. */
let source: string;

interface Outcome {
  readonly code: number | null;
  readonly stderr: string;
}

/** Writes so many MiB of the source's start, past the page cache, in another process. */
async function startWriter(path: string, mibs: number): Promise<Outcome> {
  const child = spawn(
    "dd",
    [`if=${source}`, `of=${path}`, "bs=1M", `count=${mibs}`, "conv=notrunc,fsync", "oflag=direct"],
    { stdio: ["ignore", "ignore", "pipe"], env: { LC_ALL: "C", PATH: "/usr/bin:/bin" } },
  );
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stderr };
}

async function written(path: string, mibs: number): Promise<void> {
  await run("cmp", "-n", String(mibs * MIB), source, path);
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await check())) {
    assert.ok(Date.now() < deadline, `${what}: not within a minute`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function allocated(path: string): Promise<number> {
  return (await stat(path)).blocks * 512;
}

async function eventsOf(pool: ThinPool): Promise<readonly PoolEvent[]> {
  const found: PoolEvent[] = [];
  const last = pool.lastEventNumber;
  if (last === 0) return found;
  for await (const event of pool.events({ after: 0 })) {
    found.push(event);
    if (event.number >= last) break;
  }
  return found;
}

test("a full pool holds writes back; extend lets them through, whole", async () => {
  await withPool({}, async (pool) => {
    const path = await activeDevice(pool, "d", mib(24));
    const writer = startWriter(path, 24);
    await until("out of data", async () => (await pool.status()).state === "out-of-data");
    await assert.rejects(pool.createDevice({ name: "e", sizeBytes: mib(16), filesystem: "none" }), {
      code: "POOL_NO_SPACE",
    });
    const grown = await pool.extend({ dataBytes: mib(32) });
    assert.deepEqual(grown, {
      outcome: "extended",
      dataBytes: mib(32),
      metadataBytes: mib(4),
    });
    const { code, stderr } = await writer;
    assert.equal(code, 0, stderr);
    await written(path, 24);
    const status = await pool.status();
    assert.deepEqual([status.state, status.dataTotalBytes], ["working", mib(32)]);
    assert.equal((await pool.extend({ dataBytes: mib(32) })).outcome, "already-so");
  });
});

test("the monitor grows data at the low water while a writer writes", async () => {
  const policy = { ...STILL, dataGrowth: { enabled: true, stepBytes: mib(8) } };
  await withPool({ policy, monitor: {}, lowWaterBlocks: 64n }, async (pool, folder) => {
    const path = await activeDevice(pool, "d", mib(48));
    const { code, stderr } = await startWriter(path, 48);
    assert.equal(code, 0, stderr);
    await written(path, 48);
    const { dataTotalBytes, dataUsedBytes } = await pool.status();
    assert.equal(dataUsedBytes, mib(48));
    assert.ok(dataTotalBytes > mib(48), `${dataTotalBytes}`);
    assert.equal((await stat(join(folder, "data"))).size, Number(dataTotalBytes));
    await until("events", async () =>
      (await eventsOf(pool)).some((event) => event.type === "grown"),
    );
    const events = await eventsOf(pool);
    assert.deepEqual(
      events.map((event) => event.number),
      events.map((_, index) => index + 1),
    );
    // By events, not by the poll of 10 s: it had to be quick.
    assert.ok(events.filter((event) => event.type === "grown").length >= 4);
    // The grown sizes are what opens.
    await pool.detach();
    const again = await openPool({ folder, kernel, monitor: false });
    assert.equal((await again.status()).dataTotalBytes, dataTotalBytes);
    await again.close();
    const cold = await openPool({ folder, kernel, monitor: false });
    assert.equal((await cold.status()).dataTotalBytes, dataTotalBytes);
    await cold.close();
  });
});

test("where nothing more can be had writes fail at once, and wait again when there is more", async () => {
  const policy: SpacePolicyChange = {
    ...STILL,
    dataGrowth: { enabled: true, stepBytes: mib(8), ceilingBytes: mib(24) },
    onNoSpace: "error_when_exhausted",
  };
  await withPool({ policy, monitor: {}, lowWaterBlocks: 64n }, async (pool) => {
    const path = await activeDevice(pool, "d", mib(40));
    const full = await startWriter(path, 40);
    assert.notEqual(full.code, 0);
    const status = await pool.status();
    assert.deepEqual(
      [status.state, status.onNoSpace, status.dataTotalBytes],
      ["out-of-data", "error_if_no_space", mib(24)],
    );
    assert.match(status.space.data?.growthLimitReason ?? "", /ceiling/);
    await pool.setPolicy({ dataGrowth: { ceilingBytes: mib(64) } });
    await until("waiting again", async () => {
      const { state, onNoSpace } = await pool.status();
      return state === "working" && onNoSpace === "queue_if_no_space";
    });
    const { code, stderr } = await startWriter(path, 40);
    assert.equal(code, 0, stderr);
    await written(path, 40);
    const types = (await eventsOf(pool)).map((event) => event.type);
    assert.ok(types.includes("exhausted") && types.includes("no-space-answer"), types.join());
  });
});

test("removal and trim give their space back to the host's file", async () => {
  await withPool({}, async (pool, folder) => {
    const data = join(folder, "data");
    const path = await activeDevice(pool, "d", mib(12));
    assert.equal((await startWriter(path, 12)).code, 0);
    const full = await allocated(data);
    assert.ok(full >= 12 * MIB, `${full}`);
    await pool.remove({ name: "d" });
    assert.ok((await allocated(data)) < MIB, `${await allocated(data)}`);

    await pool.createDevice({ name: "fs", sizeBytes: mib(24) });
    const target = join(parent, "mnt");
    await mkdir(target);
    const { device } = await pool.activate({ name: "fs" });
    await assert.rejects(pool.trim({ name: "fs" }), { code: "DEVICE_INACTIVE" });
    await kernel.mounts.mount({ source: device.path, type: "ext4", target, flags: {} });
    try {
      const file = await open(join(target, "file"), "w");
      await file.write(Buffer.alloc(8 * MIB, "x"));
      await file.sync();
      await file.close();
      const withFile = await allocated(data);
      await rm(join(target, "file"));
      const { trimmedBytes } = await pool.trim({ name: "fs" });
      assert.ok(trimmedBytes > mib(6), `${trimmedBytes}`);
      assert.ok(
        (await allocated(data)) < withFile - 6 * MIB,
        `${withFile} ${await allocated(data)}`,
      );
      await assert.rejects(pool.discard({ name: "fs" }), { code: "DEVICE_BUSY" });
    } finally {
      await kernel.mounts.unmount(target);
    }
    await pool.discard({ name: "fs" });
    assert.equal((await pool.status()).dataUsedBytes, 0n);
  });
});

/** Opens a pool with its monitor, and ends without closing it. */
const FORGETFUL = `
  import { linuxKernel, openPool } from "@thinpool/thinpool";
  const pool = await openPool({ folder: process.argv[1], kernel: linuxKernel() });
  console.log((await pool.status()).space.monitored);
`;

test("a monitor keeps no process alive", async () => {
  await withPool({}, async (pool, folder) => {
    await pool.close();
    const { code, stdout, stderr } = await outcomeOf(startModule(FORGETFUL, folder));
    assert.deepEqual([code, stdout, stderr], [0, "true\n", ""]);
    const again = await openPool({ folder, kernel, monitor: false });
    await again.close();
  });
});

test("what giving back costs a removal", async (t) => {
  await withPool({}, async (pool) => {
    await pool.createDevice({ name: "base", sizeBytes: mib(16) });
    for (const giveBackRemoved of [false, true]) {
      await pool.setPolicy({ giveBackRemoved });
      let spentMs = 0;
      for (let turn = 0; turn < REMOVALS; turn += 1) {
        const { device } = await pool.snapshot({ origin: "base", name: "c", activate: true });
        assert.equal((await startWriter(device.path, 1)).code, 0);
        const began = performance.now();
        await pool.remove({ name: "c" });
        spentMs += performance.now() - began;
      }
      const each = (spentMs / REMOVALS).toFixed(1);
      t.diagnostic(`removal ${giveBackRemoved ? "with" : "without"} giving back: ${each} ms`);
    }
  });
});

test("discard modes: passed down, only freed, ignored", async () => {
  for (const discard of ["passdown", "no_passdown", "ignore"] as const) {
    await withPool({ discard }, async (pool, folder) => {
      const path = await activeDevice(pool, "d", mib(12));
      assert.equal((await startWriter(path, 8)).code, 0);
      assert.equal((await pool.status()).discard, discard);
      const used = async (): Promise<readonly [boolean, boolean]> => [
        (await pool.status()).dataUsedBytes > 0n,
        (await allocated(join(folder, "data"))) > MIB,
      ];
      assert.deepEqual(await used(), [true, true]);
      if (discard === "ignore") {
        await assert.rejects(pool.discard({ name: "d" }), { code: "POOL_UNSUPPORTED" });
        assert.deepEqual(await used(), [true, true]);
      } else {
        await pool.discard({ name: "d" });
        assert.deepEqual(await used(), [false, discard === "no_passdown"]);
      }
    });
  }
});

/** Each empty device has a block of metadata for itself. */
test("metadata near its end refuses creations and nothing else; growth lets them go on", async () => {
  const backing = { type: "files", dataBytes: mib(16), metadataBytes: mib(2) } as const;
  const policy = { ...STILL, metadataFloorBytes: mib(1) };
  await withPool({ backing, policy }, async (pool) => {
    const create = (name: string): Promise<unknown> =>
      pool.createDevice({ name, sizeBytes: mib(1), filesystem: "none" });
    let made = 0;
    const refusals: unknown[] = [];
    while (refusals.length === 0 && made < 1_000) {
      const names = Array.from({ length: 32 }, (_, index) => `d${made + index}`);
      made += names.length;
      for (const result of await Promise.allSettled(names.map(create))) {
        if (result.status === "rejected") refusals.push(result.reason);
      }
    }
    const [refusal] = refusals;
    assert.ok(refusal instanceof PoolError, String(refusal));
    assert.equal(refusal.code, "POOL_NO_SPACE");
    assert.match(refusal.reason, /bytes of metadata are free, fewer than the floor of 1048576/);
    const { state, metadataUsedBytes } = await pool.status();
    assert.equal(state, "working");
    assert.ok(metadataUsedBytes > mib(1), `${metadataUsedBytes}`);
    await pool.remove({ name: "d0" });
    await pool.extend({ metadataBytes: mib(8) });
    await create("after");
    assert.equal((await pool.status()).metadataTotalBytes, mib(8));
  });
});

test("a pool on block devices grows when they became longer", async () => {
  const files = { data: join(parent, "raw-data"), metadata: join(parent, "raw-metadata") };
  for (const path of Object.values(files)) {
    await (await open(path, "wx")).close();
    await truncate(path, 16 * MIB);
  }
  await truncate(files.metadata, 4 * MIB);
  const data = await kernel.loops.attach({ backingFile: files.data });
  const metadata = await kernel.loops.attach({ backingFile: files.metadata });
  try {
    const backing = { type: "block", dataPath: data.path, metadataPath: metadata.path } as const;
    await withPool({ backing }, async (pool) => {
      const path = await activeDevice(pool, "d", mib(24));
      const writer = startWriter(path, 24);
      await until("out of data", async () => (await pool.status()).state === "out-of-data");
      assert.equal((await pool.extend()).outcome, "already-so");
      await assert.rejects(pool.extend({ dataBytes: mib(32) }), { code: "POOL_OPTION_INVALID" });
      await truncate(files.data, 32 * MIB);
      await kernel.loops.refreshCapacity(data.path);
      assert.equal((await pool.extend()).dataBytes, mib(32));
      assert.equal((await writer).code, 0);
      await written(path, 24);
    });
  } finally {
    await kernel.loops.detach(data.path);
    await kernel.loops.detach(metadata.path);
  }
});

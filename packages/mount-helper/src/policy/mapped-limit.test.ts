import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { SimKernel } from "@thinpool/dm-sim";
import { createSimKernel } from "@thinpool/dm-sim";
import type { PoolUsage, ThinPool } from "@thinpool/thinpool";
import { createPool } from "@thinpool/thinpool";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import { DEFAULT_LIMITS } from "./access.ts";
import { MappedLimit } from "./mapped-limit.ts";
import type { MappedLimitParts } from "./mapped-limit.ts";
import type { Who } from "./rights.ts";

const USER: Who = { uid: 1000, gid: 1000, groups: [] };
/** The default of `createPool`. */
const BLOCK_BYTES = 128 * 1024;
const BLOCK = BigInt(BLOCK_BYTES);

interface World extends AsyncDisposable {
  readonly kernel: SimKernel;
  readonly pool: ThinPool;
  readonly mapped: MappedLimit;
  /** The user's limit, in blocks; undefined: none. */
  blocks: bigint | undefined;
  /** What the pool answers when it is measured; undefined: the truth. */
  measuring: (() => Promise<PoolUsage>) | undefined;
  write(name: string, blocks: number): Promise<void>;
}

/** "base", root's, maps eleven blocks: its end was wiped when it was made. */
async function world(): Promise<World> {
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-mapped-"));
  const kernel = createSimKernel();
  const backing = { type: "files", dataBytes: 256n << 20n, metadataBytes: 4n << 20n } as const;
  const pool = await createPool({ folder: join(parent, "pool"), kernel, backing, monitor: false });
  await pool.createDevice({ name: "base", sizeBytes: 16n << 20n, filesystem: "none" });
  const parts: MappedLimitParts = {
    pool: {
      list: (filter) => pool.list(filter),
      lineage: (options) => pool.lineage(options),
      usage: (options) => self.measuring?.() ?? pool.usage(options),
    },
    access: {
      limits: () => ({
        ...DEFAULT_LIMITS,
        mappedBytes: self.blocks === undefined ? undefined : self.blocks * BLOCK,
      }),
    },
  };
  const self: World = {
    kernel,
    pool,
    mapped: new MappedLimit(parts),
    blocks: undefined,
    measuring: undefined,
    write: async (name, blocks) => {
      const { device } = await pool.activate({ name });
      await kernel.write(device.path, 0, Buffer.alloc(blocks * BLOCK_BYTES, 1));
      await kernel.flush(device.path);
      await pool.deactivate({ name });
    },
    [Symbol.asyncDispose]: async () => {
      await pool.close();
      await rm(parent, { recursive: true });
    },
  };
  await self.write("base", 10);
  return self;
}

async function clone(w: World, name: string): Promise<void> {
  const origin = w.pool.get({ name: "base" });
  await w.mapped.within(USER, [origin], () =>
    w.pool.snapshot({ origin: "base", name, ownerUid: USER.uid }),
  );
}

test("what was cloned since the measurement counts at once, and what was removed no longer", async () => {
  await using w = await world();
  w.blocks = 25n;
  w.kernel.resetCalls();
  await clone(w, "one");
  await clone(w, "two");
  await assert.rejects(clone(w, "three"), { code: "LIMIT", message: /mapped bytes/ });
  await w.pool.remove({ name: "one" });
  await clone(w, "three");
  assert.equal(w.kernel.calls["thin_ls"], 1, "one walk for all of them");
});

test("clones at the same time can't pass the limit together", async () => {
  await using w = await world();
  w.blocks = 25n;
  const outcomes = await Promise.allSettled(["one", "two", "three"].map((name) => clone(w, name)));
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected"],
  );
});

test("what was written counts with the next measurement", async () => {
  await using w = await world();
  w.blocks = 15n;
  await clone(w, "mine");
  await w.write("mine", 20);
  const nothing = (): Promise<void> => w.mapped.within(USER, [], () => Promise.resolve());
  await nothing();
  await w.pool.usage({ maxAgeMs: 0 });
  await assert.rejects(nothing(), { code: "LIMIT" });
});

test("root, and who has no such limit, cost no measurement", async () => {
  await using w = await world();
  w.kernel.resetCalls();
  const done = (): Promise<string> => Promise.resolve("done");
  assert.equal(await w.mapped.within(USER, [], done), "done");
  w.blocks = 0n;
  assert.equal(await w.mapped.within({ uid: 0, gid: 0, groups: [] }, [], done), "done");
  assert.deepEqual({ ...w.kernel.calls }, {});
});

test("while it can't be measured in time the last measurement does; without one nothing is let through", async () => {
  await using w = await world();
  w.blocks = 15n;
  const busy = new Error("a stranger has the metadata");
  w.measuring = () => Promise.reject(busy);
  await assert.rejects(clone(w, "one"), busy);
  w.measuring = undefined;
  await clone(w, "one");
  w.measuring = () => Promise.withResolvers<PoolUsage>().promise;
  await assert.rejects(clone(w, "two"), { code: "LIMIT" });
});

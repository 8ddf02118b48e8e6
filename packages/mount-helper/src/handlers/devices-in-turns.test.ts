/** Lists that are read over several turns, while the devices change. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createSimKernel } from "@thinpool/dm-sim";
import type { Device, ThinPool } from "@thinpool/thinpool";
import { createPool } from "@thinpool/thinpool";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import { ITEMS_PER_TURN } from "../turns.ts";
import { devicesInTurns } from "./devices-in-turns.ts";

const MANY = 2 * ITEMS_PER_TURN + 50;
const OWNER = 1000;
const EMPTY = { sizeBytes: 4n << 20n, filesystem: "none" } as const;
const nameOf = (index: number): string => `d${index.toString().padStart(4, "0")}`;
/** In the slice before the first, and behind it. */
const EARLY = nameOf(ITEMS_PER_TURN / 2);
const LATE = nameOf(ITEMS_PER_TURN + ITEMS_PER_TURN / 2);

let parent: string;
let pool: ThinPool;

before(async () => {
  parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-turns-"));
  const backing = { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } as const;
  const folder = join(parent, "pool");
  pool = await createPool({ folder, kernel: createSimKernel(), backing, monitor: false });
  const indexes = Array.from({ length: MANY }, (_, index) => index);
  await Promise.all(
    indexes.map((index) =>
      pool.createDevice({ name: nameOf(index), ...EMPTY, ownerUid: OWNER + (index % 2) }),
    ),
  );
});

after(async () => {
  await pool.close();
  await rm(parent, { recursive: true, force: true });
});

/** `between` runs after the first slice was read, and is waited for. */
async function names(
  part: Parameters<typeof devicesInTurns>[2],
  more: {
    readonly ownerUid?: number;
    readonly between?: () => Promise<unknown>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<{ readonly names: readonly string[]; readonly next: string | undefined }> {
  const { ownerUid, between, signal = new AbortController().signal } = more;
  let pages = 0;
  let changing: Promise<unknown> | undefined;
  // What happens in between is done before the next slice is read: a commit waits for no turn of ours.
  const watched: Pick<ThinPool, "list" | "listPage" | "watchRenames"> = {
    list: (filter) => pool.list(filter),
    watchRenames: () => pool.watchRenames(),
    listPage: (options) => {
      pages += 1;
      const page = pool.listPage(options);
      if (pages === 1) changing = between?.();
      return page;
    },
  };
  const wanted = {
    ...(ownerUid === undefined ? {} : { filter: { ownerUid } }),
    view: (device: Device) => device,
    signal,
  };
  const { devices, next } = await devicesInTurns(watched, wanted, part);
  await changing;
  return { names: devices.map(({ name }) => name), next };
}

const everything = (): readonly string[] => pool.list().map(({ name }) => name);

test("pages of any size are together what there is", async () => {
  for (const limit of [7, ITEMS_PER_TURN, ITEMS_PER_TURN + 1, MANY, MANY + 1]) {
    const seen: string[] = [];
    let next: string | undefined;
    let pages = 0;
    do {
      pages += 1;
      const page = await names({ after: next, limit });
      assert.ok(page.names.length <= limit);
      assert.equal(page.next ?? page.names.at(-1), page.names.at(-1));
      seen.push(...page.names);
      next = page.next;
    } while (next !== undefined);
    assert.deepEqual(seen, everything());
    assert.equal(pages, Math.ceil(seen.length / limit), "the last page says that it is");
  }
  assert.deepEqual(await names({ after: nameOf(MANY - 1), limit: 5 }), {
    names: [],
    next: undefined,
  });
});

test("a page of one user's, who has many", async () => {
  const own = pool.list({ ownerUid: OWNER }).map(({ name }) => name);
  const first = await names({ limit: 90 }, { ownerUid: OWNER });
  assert.deepEqual(first, { names: own.slice(0, 90), next: own[89] });
  const rest = await names({ after: first.next }, { ownerUid: OWNER });
  assert.deepEqual(rest, { names: own.slice(90), next: undefined });
});

test("what is made and removed between two slices leaves the others as they are, once", async () => {
  const first = everything();
  const { names: seen } = await names(
    {},
    {
      between: () =>
        Promise.all([
          pool.createDevice({ name: `${EARLY}-new`, ...EMPTY }),
          pool.createDevice({ name: `${LATE}-new`, ...EMPTY }),
          pool.remove({ name: nameOf(1) }),
          pool.remove({ name: nameOf(ITEMS_PER_TURN - 1) }),
          pool.remove({ name: nameOf(MANY - 1) }),
        ]),
    },
  );
  assert.equal(new Set(seen).size, seen.length);
  const now = new Set(everything());
  const stayed = first.filter((name) => now.has(name));
  assert.equal(stayed.length, first.length - 3);
  const isOld = new Set(stayed);
  assert.deepEqual(
    seen.filter((name) => isOld.has(name)),
    stayed,
  );
  for (const name of [`${EARLY}-new`, `${LATE}-new`]) await pool.remove({ name });
});

test("one that is renamed between two slices is in the list once, by its new name", async () => {
  const moves = [
    [EARLY, `${LATE}-moved`],
    [LATE, `${EARLY}-moved`],
  ] as const;
  for (const [from, to] of moves) {
    const rename = { between: () => pool.rename({ name: from, to }) };
    const whole = await names({}, rename);
    assert.deepEqual(whole.names, everything());
    assert.ok(whole.names.includes(to) && !whole.names.includes(from));
    await pool.rename({ name: to, to: from });
    // A page has what belongs to it, and no more than was asked for.
    const limit = ITEMS_PER_TURN + 10;
    const page = await names({ limit }, rename);
    const upTo = everything().filter((name) => name <= (page.next ?? ""));
    assert.deepEqual(page.names, upTo);
    assert.ok(page.names.length <= limit);
    await pool.rename({ name: to, to: from });
  }
});

test("who gives it up ends it with his reason", async () => {
  const giver = new AbortController();
  const reason = new Error("enough");
  const between = async (): Promise<void> => giver.abort(reason);
  await assert.rejects(names({}, { between, signal: giver.signal }), reason);
});

/** Whether an operation's time follows the number of devices. */
import { openPool, type ThinPool } from "@thinpool/thinpool";
import { Thinpoold } from "../daemon/thinpoold.ts";
import { UserProcess } from "../daemon/user-process.ts";
import { BASE, makeEnginePool } from "../peers/engine.ts";
import type { Bench, Section } from "../section.ts";
import { shell } from "../shell.ts";
import { shuffled } from "../statistics.ts";

/** Snapshots asked for at once while the pool is filled. */
const FILL_AT_A_TIME = 64;
const QUICK_COUNTS = [10, 10_000];
const COUNTS = [10, 100, 1_000, 10_000];
const WARM_UP_ROUNDS = 15;
/** Of the largest pool's devices, as on a machine at work. */
const ACTIVE_OF_LARGEST = 1_000;
const ENGINE_PROCESS = new URL("../engine-process.js", import.meta.url).pathname;

/** Snapshots of one base, inactive, until the pool has that many devices. */
async function fill(pool: ThinPool, count: number): Promise<void> {
  let next = pool.list().length;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) {
      await pool.snapshot({ origin: BASE, name: `d${index}` });
    }
  };
  await Promise.all(Array.from({ length: FILL_AT_A_TIME }, lane));
}

async function activate(pool: ThinPool, count: number): Promise<void> {
  for (let index = 1; index <= count; index += 1) await pool.activate({ name: `d${index}` });
}

interface Grown {
  readonly count: number;
  readonly path: string;
  readonly pool: ThinPool;
}

/** In turn on each of the pools: what else changes in the meantime, changes for all. */
async function operations(bench: Bench, grown: readonly Grown[]): Promise<void> {
  const { recorder, random } = bench;
  const once = async ({ pool, count }: Grown, name: string, timed: boolean): Promise<void> => {
    const time = async (operation: string, call: () => unknown): Promise<void> => {
      const start = performance.now();
      await call();
      const ms = performance.now() - start;
      if (timed) recorder.add(`growth-${operation}/${count}`, "ms", ms);
    };
    await time("snapshot-activate", () => pool.snapshot({ origin: BASE, name, activate: true }));
    await time("get", () => pool.get({ name }));
    await time("deactivate", () => pool.deactivate({ name }));
    await time("activate", () => pool.activate({ name }));
    await time("remove", () => pool.remove({ name }));
    await time("status", () => pool.status());
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) {
    for (const each of grown) await once(each, `warm-${round}`, false);
  }
  const plan = { quick: 30, full: 100, quickSeconds: 10 };
  for (const round of bench.rounds(plan)) {
    for (const each of shuffled(grown, random)) await once(each, `probe-${round}`, true);
  }
  for (const { pool, count } of grown) {
    for (let round = 0; round < 5; round += 1) {
      await recorder.time(`growth-list/${count}`, () => pool.list());
    }
  }
}

async function throughDaemon(bench: Bench, folder: string, count: number): Promise<void> {
  const { recorder } = bench;
  await using thinpoold = await Thinpoold.start(folder);
  await using user = await UserProcess.start(thinpoold.socketPath, 1);
  const clone = async (name: string): Promise<number> => {
    const [ms = 0] = await user.run({ call: "clone", origin: BASE, name });
    await user.run({ call: "remove", name });
    return ms;
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round += 1) await clone(`warm-${round}`);
  for (const round of bench.rounds({ quick: 15, full: 50, quickSeconds: 4 })) {
    recorder.add(`growth-clone-by-sdk/${count}`, "ms", await clone(`probe-${round}`));
  }
  recorder.add(`growth-daemon-memory/${count}`, "MiB", thinpoold.memoryMiB().daemon);
}

export const growth: Section = {
  name: "growth",
  what: "each operation, opening, listing, the engine's and the daemon's memory with 10 to 10,000 devices, of the most 1,000 active",
  kernel: "uml",
  needs: [],
  async run(bench) {
    const { recorder, kernel, memoryFolder: folder, quick } = bench;
    const grown: Grown[] = [];
    const isLargest = ({ count }: Pick<Grown, "count">): boolean => count === QUICK_COUNTS.at(-1);
    for (const count of quick ? QUICK_COUNTS : COUNTS) {
      const path = `${folder}/pool-${count}`;
      const pool = await makeEnginePool(kernel, path);
      grown.push({ count, path, pool });
      const start = performance.now();
      await fill(pool, count);
      recorder.say(`growth: ${count} devices after ${Math.round(performance.now() - start)} ms`);
      if (isLargest({ count })) await activate(pool, ACTIVE_OF_LARGEST);
    }
    recorder.say("growth: each operation");
    await operations(bench, grown);
    for (const { pool } of grown) await pool.detach();
    for (const { count, path } of grown) {
      // Each start of the daemon is longer than what is measured with it.
      for (let round = 0; round < 3; round += 1) {
        const again = await recorder.time(`growth-open/${count}`, () =>
          openPool({ folder: path, kernel }),
        );
        await again.detach();
      }
      const memoryMiB = shell(process.execPath, ENGINE_PROCESS, path, BASE).split(" ").map(Number);
      const [residentMiB = NaN, ownMiB = NaN] = memoryMiB;
      recorder.add(`growth-engine-memory/${count}`, "MiB", residentMiB);
      recorder.add(`growth-engine-own-memory/${count}`, "MiB", ownMiB);
      if (quick && !isLargest({ count })) continue;
      recorder.say(`growth: ${count} devices through the daemon`);
      await throughDaemon(bench, path, count);
    }
    for (const { path } of grown) await (await openPool({ folder: path, kernel })).close();
  },
};

/** What a user without privileges sees: the way through the SDK and the daemon. */
import { Thinpoold } from "../daemon/thinpoold.ts";
import { CONNECTIONS, UserProcess } from "../daemon/user-process.ts";
import { startsOfCommandLine } from "../command-line.ts";
import { openPool } from "@thinpool/thinpool";
import { BASE, makeEnginePool } from "../peers/engine.ts";
import type { Bench, Rounds, Section } from "../section.ts";
import { shuffled } from "../statistics.ts";

/** Until V8 has compiled what is called, in all three processes. */
const WARM_UP_ROUNDS = 150;
/** Of 100 at a time: what groups do is compiled by then as well. */
const WARM_UP_BURSTS = 4;
/** Each takes more than a second. */
const WARM_UP_ROUNDS_SLOW = 5;
const AT_A_TIME = [1, 10, 100];

interface Clones extends Rounds {
  /** Has the engine's pool. */
  readonly folder: string;
  /** Behind the first word of each series' name. */
  readonly series: string;
  readonly warmUp: number;
}

/** One clone and its removal by each, in an order drawn anew. */
async function clonesBesideEngine(bench: Bench, user: UserProcess, plan: Clones): Promise<void> {
  const { recorder, kernel } = bench;
  const { folder, series } = plan;
  const pool = await makeEnginePool(kernel, `${folder}/engine`);
  const measure = {
    engine: async (name: string, timed: boolean) => {
      const start = performance.now();
      await pool.snapshot({ origin: BASE, name });
      const ms = performance.now() - start;
      if (timed) recorder.add(`clone${series}/engine`, "ms", ms);
      await pool.remove({ name });
    },
    daemon: async (name: string, timed: boolean) => {
      const [ms = 0] = await user.run({ call: "clone", origin: BASE, name });
      const [roundTripMs = 0] = await user.run({ call: "get", name });
      const [removeMs = 0] = await user.run({ call: "remove", name });
      if (!timed) return;
      recorder.add(`clone${series}/daemon`, "ms", ms);
      recorder.add(`remove-clone${series}/daemon`, "ms", removeMs);
      recorder.add(`round-trip${series}/sdk`, "ms", roundTripMs);
    },
  };
  const pair = async (name: string, timed: boolean): Promise<void> => {
    const order = shuffled(["engine", "daemon"] as const, bench.random);
    for (const who of order) await measure[who](name, timed);
  };
  for (let index = 0; index < plan.warmUp; index += 1) await pair(`w${index}`, false);
  for (const index of bench.rounds(plan)) await pair(`c${index}`, true);
  await pool.close();
}

/** Where each flush takes its time, as on a disk that keeps its word. */
async function clonesWithSlowFlushes(bench: Bench): Promise<void> {
  const { recorder, kernel, slowFolder: folder } = bench;
  recorder.say("daemon: clones beside the engine's where a flush is slow");
  await (await makeEnginePool(kernel, `${folder}/daemon`)).detach();
  {
    await using thinpoold = await Thinpoold.start(`${folder}/daemon`);
    await using user = await UserProcess.start(thinpoold.socketPath, 1);
    await clonesBesideEngine(bench, user, {
      ...{ folder, series: "-slow-flush", warmUp: WARM_UP_ROUNDS_SLOW },
      ...{ quick: 6, full: 30, quickSeconds: 6 },
    });
  }
  await (await openPool({ folder: `${folder}/daemon`, kernel })).close();
}

export const daemon: Section = {
  name: "daemon",
  what: "clone by the SDK as uid 1000; mount and first byte; many at a time; the event loop",
  kernel: "uml",
  needs: [],
  async run(bench) {
    const { recorder, kernel, folder } = bench;
    const pool = await makeEnginePool(kernel, `${folder}/daemon`);
    await pool.detach();
    {
      recorder.say("daemon: it starts, and a user's program");
      await using thinpoold = await Thinpoold.start(`${folder}/daemon`);
      await using user = await UserProcess.start(thinpoold.socketPath, CONNECTIONS);
      recorder.add("memory/daemon-at-start", "MiB", thinpoold.memoryMiB().daemon);
      recorder.say("daemon: clones beside the engine's");
      await clonesBesideEngine(bench, user, {
        ...{ folder, series: "", warmUp: WARM_UP_ROUNDS },
        ...{ quick: 40, full: 200, quickSeconds: 6 },
      });
      recorder.say("daemon: mounts");
      for (const index of bench.rounds({ quick: 15, full: 60, quickSeconds: 5 })) {
        const name = `ready-${index}`;
        const [readyMs = 0, goneMs = 0] = await user.run({ call: "ready", origin: BASE, name });
        recorder.add("ready-first-byte/daemon", "ms", readyMs);
        recorder.add("ready-release-remove/daemon", "ms", goneMs);
      }
      recorder.say("daemon: many at a time");
      for (let index = 0; index < WARM_UP_BURSTS; index += 1) {
        const burst = { prefix: `burst${index}-`, count: 100, atATime: 100 };
        await user.run({ call: "many", origin: BASE, ...burst });
      }
      await thinpoold.loopDelay();
      for (const run of bench.rounds({ quick: 5, full: 10, quickSeconds: 10 })) {
        for (const atATime of shuffled(AT_A_TIME, bench.random)) {
          const count = Math.max(atATime, 50);
          const [ms = 0, goneMs = 0] = await user.run({
            ...{ call: "many", origin: BASE, prefix: `m${run}-${atATime}-`, count, atATime },
          });
          recorder.add(`throughput/${atATime}`, "per s", (count * 1000) / ms);
          recorder.add(`throughput-remove/${atATime}`, "per s", (count * 1000) / goneMs);
          const { medianMs, p99Ms, maxMs } = await thinpoold.loopDelay();
          if (atATime < 100) continue;
          recorder.add("event-loop-delay-median/daemon", "ms", medianMs);
          recorder.add("event-loop-delay-p99/daemon", "ms", p99Ms);
          recorder.add("event-loop-delay-max/daemon", "ms", maxMs);
        }
      }
      const { daemon: daemonMiB, workers } = thinpoold.memoryMiB();
      recorder.add("memory/daemon-after-load", "MiB", daemonMiB);
      if (workers.length > 0) recorder.add("memory/worker", "MiB", ...workers);
      recorder.say("daemon: starts of the command line");
      await startsOfCommandLine(bench, thinpoold.socketPath);
      recorder.say("daemon: it ends");
    }
    await (await openPool({ folder: `${folder}/daemon`, kernel })).close();
    await clonesWithSlowFlushes(bench);
  },
};

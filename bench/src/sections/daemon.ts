/** What a user without privileges sees: the way through the SDK and the daemon. */
import { Thinpoold } from "../daemon/thinpoold.ts";
import { UserProcess } from "../daemon/user-process.ts";
import { openPool } from "@thinpool/thinpool";
import { BASE, makeEnginePool } from "../peers/engine.ts";
import type { Bench, Section } from "../section.ts";
import { shuffled } from "../statistics.ts";

const WARM_UP_ROUNDS = 10;
/** The daemon takes 64 requests of one connection at a time. */
const CONNECTIONS = 4;
const AT_A_TIME = [1, 10, 100];

async function clonesBesideEngine(bench: Bench, user: UserProcess): Promise<void> {
  const { recorder, kernel, folder } = bench;
  const pool = await makeEnginePool(kernel, `${folder}/engine`);
  const rounds = bench.rounds(40, 200) + WARM_UP_ROUNDS;
  const measure = {
    engine: async (name: string, timed: boolean) => {
      const start = performance.now();
      await pool.snapshot({ origin: BASE, name });
      const ms = performance.now() - start;
      if (timed) recorder.add("clone/engine", "ms", ms);
      await pool.remove({ name });
    },
    daemon: async (name: string, timed: boolean) => {
      const [ms = 0] = await user.run({ call: "clone", origin: BASE, name });
      const [roundTripMs = 0] = await user.run({ call: "get", name });
      const [removeMs = 0] = await user.run({ call: "remove", name });
      if (!timed) return;
      recorder.add("clone/daemon", "ms", ms);
      recorder.add("remove-clone/daemon", "ms", removeMs);
      recorder.add("round-trip/sdk", "ms", roundTripMs);
    },
  };
  for (let index = 0; index < rounds; index += 1) {
    for (const who of shuffled(["engine", "daemon"] as const, bench.random)) {
      await measure[who](`c${index}`, index >= WARM_UP_ROUNDS);
    }
  }
  await pool.close();
}

export const daemon: Section = {
  name: "daemon",
  what: "clone by the SDK as uid 1000; mount and first byte; many at a time; the event loop",
  needs: [],
  async run(bench) {
    const { recorder, kernel, folder } = bench;
    const pool = await makeEnginePool(kernel, `${folder}/daemon`);
    await pool.detach();
    {
      await using thinpoold = await Thinpoold.start(`${folder}/daemon`);
      await thinpoold.publish(BASE);
      await using user = await UserProcess.start(thinpoold.socketPath, CONNECTIONS);
      recorder.add("memory/daemon-at-start", "MiB", thinpoold.memoryMiB().daemon);
      await clonesBesideEngine(bench, user);
      for (let index = 0; index < bench.rounds(15, 60); index += 1) {
        const name = `ready-${index}`;
        const [readyMs = 0, goneMs = 0] = await user.run({ call: "ready", origin: BASE, name });
        recorder.add("ready-first-byte/daemon", "ms", readyMs);
        recorder.add("ready-release-remove/daemon", "ms", goneMs);
      }
      await thinpoold.loopDelay();
      for (let run = 0; run < bench.rounds(3, 10); run += 1) {
        for (const atATime of shuffled(AT_A_TIME, bench.random)) {
          const count = Math.max(atATime, 50);
          const [ms = 0] = await user.run({
            ...{ call: "many", origin: BASE, prefix: `m${run}-${atATime}-`, count, atATime },
          });
          recorder.add(`throughput/${atATime}`, "per s", (count * 1000) / ms);
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
    }
    await (await openPool({ folder: `${folder}/daemon`, kernel })).close();
  },
};

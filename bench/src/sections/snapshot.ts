/** A snapshot and its activation, and the removal, by the engine and by all others: in pairs. */
import { barePeer, dmsetupPeer } from "../peers/raw.ts";
import { containerdPeer } from "../peers/containerd.ts";
import { enginePeer } from "../peers/engine.ts";
import { lvmPeer } from "../peers/lvm.ts";
import type { Peer } from "../peers/peer.ts";
import type { Bench, Rounds, Section } from "../section.ts";
import { pairs, round } from "./pairs.ts";

/** Until V8 has compiled what is called, as in a program that has run for longer than a minute. */
const WARM_UP_ROUNDS = 300;
/** Of a further pool: until its caches are warm. */
const WARM_UP_ROUNDS_AGAIN = 20;
/** Each takes half a second on the disk with slow flushes. */
const WARM_UP_ROUNDS_SLOW = 5;
const WARM_UP_ROUNDS_OF_ALL = 2;
const TRUE = "/bin/true";

/** All five; what starts processes leaves cold caches to whoever comes next. */
async function all(bench: Bench, plan: Rounds): Promise<void> {
  await using closing = new AsyncDisposableStack();
  const peers: Peer[] = [];
  for (const start of [enginePeer, barePeer, dmsetupPeer, lvmPeer, containerdPeer]) {
    const peer = await start(bench.kernel, bench.folder, bench.bare);
    closing.defer(() => peer.close());
    peers.push(peer);
    bench.recorder.say(`snapshot: ${peer.name} is ready`);
    for (let index = 0; index < WARM_UP_ROUNDS_OF_ALL; index += 1) {
      await peer.snapshot();
      await peer.remove();
    }
  }
  for (const _ of bench.rounds(plan)) {
    await round(bench, peers, "");
    bench.recorder.add("process-start", "ms", await bench.bare.spawn(TRUE));
  }
}

export const snapshot: Section = {
  name: "snapshot",
  what: "snapshot and activation, then removal: engine, C, dmsetup, lvm2, containerd",
  kernel: "uml",
  needs: [
    { package: "lvm2", needs: "lvm" },
    { package: "containerd", needs: "containerd" },
  ],
  async run(bench) {
    const { folder, memoryFolder, slowFolder } = bench;
    const plan = { quick: 60, full: 300, quickSeconds: 6 };
    await pairs(bench, memoryFolder, "-memory", { ...plan, warmUp: WARM_UP_ROUNDS });
    await pairs(bench, `${folder}/pairs`, "-pair", { ...plan, warmUp: WARM_UP_ROUNDS_AGAIN });
    const slow = { quick: 8, full: 40, quickSeconds: 5 };
    await pairs(bench, slowFolder, "-slow-flush", { ...slow, warmUp: WARM_UP_ROUNDS_SLOW });
    await all(bench, { quick: 8, full: 60, quickSeconds: 14 });
  },
};

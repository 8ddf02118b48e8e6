/** One operation by each of those that are compared, in turns. */
import type { Bench, Rounds } from "../section.ts";
import { enginePeer } from "../peers/engine.ts";
import type { Peer } from "../peers/peer.ts";
import { barePeer, recordingPeer } from "../peers/raw.ts";
import { processesStarted } from "../machine.ts";
import { shuffled } from "../statistics.ts";

/** One snapshot and its removal by each, in an order drawn anew: so that no one always follows the same. */
export async function round(bench: Bench, peers: readonly Peer[], series: string): Promise<void> {
  const { recorder } = bench;
  for (const peer of shuffled(peers, bench.random)) {
    const before = processesStarted();
    const snapshotMs = await peer.snapshot();
    const started = processesStarted() - before;
    const removeMs = await peer.remove();
    recorder.add(`snapshot-activate${series}/${peer.name}`, "ms", snapshotMs);
    recorder.add(`snapshot-activate-processes${series}/${peer.name}`, "count", started);
    if (removeMs !== undefined) recorder.add(`remove${series}/${peer.name}`, "ms", removeMs);
  }
}

/** Engine, C and C with a record in turn, with no large process between them. */
export async function pairs(
  bench: Bench,
  folder: string,
  series: string,
  plan: Rounds & { readonly warmUp: number },
): Promise<void> {
  await using closing = new AsyncDisposableStack();
  const peers: Peer[] = [];
  for (const start of [enginePeer, barePeer, recordingPeer]) {
    const peer = await start(bench.kernel, folder, bench.bare);
    closing.defer(() => peer.close());
    peers.push(peer);
  }
  for (let index = 0; index < plan.warmUp; index += 1) {
    for (const peer of peers) {
      await peer.snapshot();
      await peer.remove();
    }
  }
  for (const _ of bench.rounds(plan)) await round(bench, peers, series);
}

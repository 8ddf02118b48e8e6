/** Changed blocks over the wire, on a device whose written blocks are known. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChangedRange } from "@thinpool/sdk";
import { world } from "./sim-world.ts";

test("pages of any size give the written ranges, each once and in order", async () => {
  await using w = await world();
  await using daemon = await w.start();
  assert.equal(daemon.socketPath, w.socketPath);
  await using client = await w.connect();
  const one = await client.clone({ origin: "base", name: "one" });
  const mount = await one.mount();
  const { uuid, blockSizeBytes } = await client.status();
  const path = `/dev/mapper/thinpool-${uuid.slice(0, 8)}-dev-one`;
  for (const block of [3n, 4n, 9n, 30n]) {
    await w.kernel.write(path, block * blockSizeBytes, Buffer.alloc(Number(blockSizeBytes), "x"));
  }
  const changed = async (pageRanges?: number): Promise<readonly ChangedRange[]> => {
    const ranges: ChangedRange[] = [];
    const more = pageRanges === undefined ? {} : { pageRanges };
    const asked = { name: "one", from: "base", ...more };
    for await (const range of client.devices.changedBlocks(asked)) ranges.push(range);
    return ranges;
  };
  const all = await changed();
  const blocks = all.flatMap(({ offsetBytes, lengthBytes }) =>
    Array.from(
      { length: Number(lengthBytes / blockSizeBytes) },
      (_, index) => offsetBytes / blockSizeBytes + BigInt(index),
    ),
  );
  assert.deepEqual(blocks, [3n, 4n, 9n, 30n]);
  for (const pageRanges of [1, 2, all.length]) {
    assert.deepEqual(await changed(pageRanges), all, `${pageRanges} ranges a page`);
  }
  await mount.release();
});

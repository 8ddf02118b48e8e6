/** The conformance cases on the simulated kernel. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSimKernel } from "@thinpool/dm-sim";
import { thinPoolConformance } from "./thin-pool.ts";

thinPoolConformance(async (run) => {
  const folder = await mkdtemp(join(tmpdir(), "conformance-"));
  const sim = createSimKernel({ seed: 1 });
  try {
    await run({
      dm: sim.dm,
      loops: sim.loops,
      tools: sim.metadataTools,
      folder,
      suffix: "sim",
      read: (path, offset, length) => sim.read(path, offset, length),
      write: (path, offset, bytes) => sim.write(path, offset, bytes),
      discard: (path, offset, length) =>
        sim.blocks.discard(path, { offsetBytes: BigInt(offset), lengthBytes: BigInt(length) }),
      flush: (path) => sim.flush(path),
      hold: async (path) => {
        const letGo = sim.hold(path);
        return async () => letGo();
      },
    });
    assert.deepEqual(await sim.leftovers(), []);
  } finally {
    await rm(folder, { recursive: true });
  }
});

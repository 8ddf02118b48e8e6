import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { createSimKernel } from "@thinpool/dm-sim";
import { createPool } from "@thinpool/thinpool";
import { MEMORY_FOLDER } from "../memory-folder.test.support.ts";
import { statusToWire } from "./pool.ts";

const MIB = 1n << 20n;

test("the status tells of the growth as the policy has it now", async (t) => {
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-status-"));
  t.after(() => rm(parent, { recursive: true, force: true }));
  const backing = { type: "files", dataBytes: 64n * MIB, metadataBytes: 4n * MIB } as const;
  const folder = join(parent, "pool");
  const kernel = createSimKernel();
  await using pool = await createPool({ folder, kernel, backing, monitor: false });
  await pool.setPolicy({
    dataGrowth: { stepBytes: 8n * MIB, ceilingBytes: 128n * MIB },
    metadataGrowth: { enabled: false, stepBytes: 4n * MIB },
  });
  assert.deepEqual(statusToWire(await pool.status()).growth, {
    data: { enabled: true, stepBytes: "8388608", ceilingBytes: "134217728" },
    metadata: { enabled: false, stepBytes: "4194304" },
  });
});

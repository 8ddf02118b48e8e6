import assert from "node:assert/strict";
import { closeSync, fstatSync, openSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createSimKernel } from "@thinpool/dm-sim";
import { createPool } from "../create-pool.ts";
import { withClosedPool } from "./closed-pool.ts";

const parent = await mkdtemp(join(tmpdir(), "thinpool-closed-"));
after(() => rm(parent, { recursive: true }));

test("where the ledger in place of another can't be opened, that one is not closed again", async () => {
  const kernel = createSimKernel();
  const folder = join(parent, "pool");
  const backing = { type: "files", dataBytes: 64n << 20n, metadataBytes: 4n << 20n } as const;
  await (await createPool({ folder, kernel, backing })).close();
  let other: number | undefined;
  await assert.rejects(
    withClosedPool({ folder, kernel, operation: "test" }, (pool) =>
      pool.replaceLedger(async () => {
        // Its number was the ledger's.
        other = openSync("/dev/null", "r");
        writeFileSync(pool.paths.ledger, "no database".repeat(100));
      }),
    ),
    /file is not a database/,
  );
  assert.ok(other !== undefined);
  fstatSync(other);
  closeSync(other);
});

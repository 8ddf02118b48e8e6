/** `check` of a pool that is open: its metadata through the metadata snapshot. */
import type { Engine } from "../engine.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import { poolStateOf } from "../tables.ts";
import { checkMetadata, type CheckOptions, type CheckReport } from "./check-report.ts";
import type { Finding } from "./findings.ts";
import { leftoversOfOpen } from "./leftovers.ts";
import { LONG_SNAPSHOT_HOLD_MS } from "./metadata-snapshot.ts";
import { isSick, sickPoolError } from "./sick-pool.ts";

/** Changes nothing. POOL_SNAPSHOT_BUSY, POOL_CLOSED. */
export async function checkOpen(engine: Engine, options: CheckOptions = {}): Promise<CheckReport> {
  const { signal } = options;
  const atMs = Date.now();
  try {
    engine.assertNotClosed("check", engine.folder);
    // As an operation of no device: closing waits for it.
    const look = { operation: "check", object: engine.folder, changes: [] };
    const { leftovers, state } = await engine.changeDevices(look, async () => ({
      leftovers: await leftoversOfOpen(engine),
      state: poolStateOf(await engine.pool.status()),
    }));
    if (isSick(state)) {
      // Such a pool takes no message, so there is no metadata snapshot to be had.
      return { atMs, metadata: "unknown", report: "", findings: [sick(state), ...leftovers] };
    }
    const checked = await engine.metadataSnapshot.use(
      { owner: "check", signal, maxHoldMs: LONG_SNAPSHOT_HOLD_MS },
      () => ({
        pool: engine.ledger.pool() ?? engine.poolRecord,
        devices: engine.ledger.rows(),
        thinIds: engine.ledger.doubtfulThinIds(),
        open: true,
      }),
      (moment, held) => {
        const { path } = engine.backing.metadata;
        const source = { path, snapshot: true, signal: held };
        return checkMetadata(engine.kernel, source, moment, options);
      },
    );
    return { ...checked, atMs, findings: [...checked.findings, ...leftovers] };
  } catch (error) {
    if (signal?.aborted === true && error === signal.reason) throw error;
    throw poolErrorFrom(error, { operation: "check", object: engine.folder });
  }
}

function sick(state: Parameters<typeof sickPoolError>[0]): Finding {
  const { code, object, reason, hint } = sickPoolError(state, "check", "the pool");
  return { code: code as Finding["code"], object, reason, action: hint };
}

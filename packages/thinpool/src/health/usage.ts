/** How much of the pool each device takes, of which what it shares. */
import type { Engine } from "../engine.ts";
import { poolErrorFrom } from "../errors-from-native.ts";
import type { ThinUsage } from "../tools/metadata-tools.ts";
import { toolCall } from "./tool-calls.ts";

/** A walk over all mappings is not for every glance at a status page. */
export const DEFAULT_USAGE_MAX_AGE_MS = 30_000;

export interface DeviceUsage {
  readonly name: string;
  readonly uuid: string;
  readonly mappedBytes: bigint;
  /** Mapped by this device only: what removing it would free. */
  readonly exclusiveBytes: bigint;
  readonly sharedBytes: bigint;
}

export interface PoolUsage {
  /** When it was measured. Writes after that are not in it. */
  readonly atMs: number;
  /** By name; devices that were made or removed since are missing or still there. */
  readonly devices: readonly DeviceUsage[];
  /** What thin devices take that no record explains: see `check`. */
  readonly orphanBytes: bigint;
}

export interface UsageOptions {
  /** A result as young as this is given again (default 30 s); 0 measures anew. */
  readonly maxAgeMs?: number;
  readonly signal?: AbortSignal;
}

export class UsageCache {
  readonly #engine: Engine;
  #last: { readonly usage: PoolUsage; readonly sinceMs: number } | undefined;
  #running: Promise<PoolUsage> | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /**
   * One walk for all devices, through the metadata snapshot; who asks meanwhile without a signal of his
   * own gets the same result. POOL_TOOL_MISSING, POOL_SNAPSHOT_BUSY.
   */
  async get(options: UsageOptions = {}): Promise<PoolUsage> {
    this.#engine.assertNotClosed("usage", this.#engine.folder);
    const maxAgeMs = options.maxAgeMs ?? DEFAULT_USAGE_MAX_AGE_MS;
    // Not by the wall clock: one that is set back would make a result young again.
    const last = this.#last;
    if (last !== undefined && performance.now() - last.sinceMs < maxAgeMs) return last.usage;
    if (options.signal !== undefined) return this.#measure(options.signal);
    this.#running ??= this.#measure(undefined).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #measure(signal: AbortSignal | undefined): Promise<PoolUsage> {
    const engine = this.#engine;
    const { path } = engine.backing.metadata;
    try {
      const measurement = await engine.metadataSnapshot.use(
        { owner: "usage", signal },
        () => ({
          atMs: Date.now(),
          sinceMs: performance.now(),
          records: engine.ledger.devices(engine.transactionId),
        }),
        async ({ atMs, sinceMs, records }, held) => {
          const measured = await toolCall(() =>
            engine.kernel.metadataTools.usage({ path, snapshot: true, signal: held }),
          );
          return { usage: poolUsage(atMs, records, measured), sinceMs };
        },
      );
      this.#last = measurement;
      return measurement.usage;
    } catch (error) {
      if (signal?.aborted === true && error === signal.reason) throw error;
      throw poolErrorFrom(error, { operation: "usage", object: engine.folder });
    }
  }
}

function poolUsage(
  atMs: number,
  records: readonly { readonly name: string; readonly uuid: string; readonly thinId: number }[],
  measured: readonly ThinUsage[],
): PoolUsage {
  const byId = new Map(measured.map((usage) => [Number(usage.thinId), usage]));
  const devices = records.map(({ name, uuid, thinId }) => {
    const usage = byId.get(thinId);
    byId.delete(thinId);
    return {
      name,
      uuid,
      mappedBytes: usage?.mappedBytes ?? 0n,
      exclusiveBytes: usage?.exclusiveBytes ?? 0n,
      sharedBytes: usage?.sharedBytes ?? 0n,
    };
  });
  let orphanBytes = 0n;
  for (const { mappedBytes } of byId.values()) orphanBytes += mappedBytes;
  return { atMs, devices, orphanBytes };
}

/**
 * The limit on what a user's devices map of the pool. The kernel tells it of one active device at a time,
 * so nothing is asked for a single request: one walk over the metadata tells it of all devices, and what
 * was made since counts as what it was made from.
 */
import type { Device, PoolUsage, ThinPool } from "@thinpool/thinpool";
import { Quota } from "../references/quota.ts";
import type { Access } from "./access.ts";
import type { Who } from "./rights.ts";

/**
 * A measurement is 30 s old at most (the engine's own bound), unless the next one takes longer than this
 * because a backup has the metadata to itself: then the last one does …
 */
const PATIENCE_MS = 2_000;
/** … if it is no older than this. */
const MAX_AGE_MS = 15 * 60_000;

export interface MappedLimitParts {
  readonly pool: Pick<ThinPool, "usage" | "list" | "lineage">;
  readonly access: Pick<Access, "limits">;
}

export class MappedLimit {
  readonly #parts: MappedLimitParts;
  readonly #quota = new Quota("mapped bytes");
  #last: { readonly atMs: number; readonly mapped: ReadonlyMap<string, bigint> } | undefined;

  constructor(parts: MappedLimitParts) {
    this.#parts = parts;
  }

  /**
   * Runs `make`, which adds copies of these devices, if the user then maps no more than he may. Rejects
   * with LIMIT; where it can't be measured, with what the measuring said.
   */
  async within<T>(who: Who, copies: readonly Device[], make: () => Promise<T>): Promise<T> {
    const { uid } = who;
    const limit = this.#parts.access.limits(who).mappedBytes;
    if (limit === undefined || uid === 0) return make();
    const mapped = await this.#measured();
    const sum = (devices: readonly Device[]): bigint =>
      devices.reduce((total, device) => total + this.#mappedBy(device, mapped), 0n);
    const held = sum(this.#parts.pool.list({ ownerUid: uid }));
    return this.#quota.reserve({ uid, held, more: sum(copies), limit }, make);
  }

  /** One that was made after the measurement maps what it was made from did. */
  #mappedBy({ name, uuid, originUuid }: Device, mapped: ReadonlyMap<string, bigint>): bigint {
    const own = mapped.get(uuid);
    if (own !== undefined || originUuid === undefined) return own ?? 0n;
    const { ancestors } = this.#parts.pool.lineage({ name });
    const measured = ancestors.find((ancestor) => mapped.has(ancestor.uuid));
    return measured === undefined ? 0n : (mapped.get(measured.uuid) ?? 0n);
  }

  /** By the device's uuid. */
  async #measured(): Promise<ReadonlyMap<string, bigint>> {
    const next = this.#parts.pool.usage().then((usage) => this.#keep(usage));
    const last = this.#last;
    if (last === undefined || Date.now() - last.atMs > MAX_AGE_MS) return next;
    const { promise, resolve } = Promise.withResolvers<typeof last.mapped>();
    const timer = setTimeout(() => resolve(last.mapped), PATIENCE_MS);
    try {
      return await Promise.race([next, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #keep({ atMs, devices }: PoolUsage): ReadonlyMap<string, bigint> {
    if (this.#last?.atMs !== atMs) {
      const mapped = new Map(devices.map(({ uuid, mappedBytes }) => [uuid, mappedBytes]));
      this.#last = { atMs, mapped };
    }
    return this.#last.mapped;
  }
}

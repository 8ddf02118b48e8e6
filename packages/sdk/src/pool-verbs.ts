/** What administrators do with the pool as a whole. */
import type { MethodResult } from "@thinpool/protocol";
import type { CallOptions, ChangeOptions, Requests } from "./requests.ts";
import type { SpacePolicy, SpacePolicyChange } from "./space-policy.ts";
import { spacePolicyChangeToWire, spacePolicyFromWire } from "./space-policy.ts";

/** `findings` is empty where all is well; each says what to do. */
export type CheckReport = MethodResult<"pool.check">;

export interface BackupEntry {
  /** By which `thinpool` restores it. */
  readonly name: string;
  readonly atMs: number;
  /** The pool's, when it was made. */
  readonly transactionId: bigint;
  /** Of its files. */
  readonly sizeBytes: bigint;
}

export interface Extended {
  readonly outcome: "extended" | "already-so";
  /** As they are now. */
  readonly dataBytes: bigint;
  readonly metadataBytes: bigint;
}

export interface SpacePolicySet {
  readonly outcome: "changed" | "already-so";
  /** All of it, as it is now. */
  readonly policy: SpacePolicy;
}

/** Administrators only: FORBIDDEN for others. */
export class PoolVerbs {
  readonly #requests: Requests;

  /** Use `client.pool`. */
  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /**
   * Looks for damage, lost records and leftovers, while the pool works, and changes nothing. `mappings`
   * looks at each mapping too, which takes long in a large pool. Without `timeoutMs` it takes as long as it
   * takes; `signal` ends it, in the daemon as well. BUSY, FORBIDDEN.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const { admin } = await client.rights.whoAmI();
   * console.log(admin ? (await client.pool.check()).findings : []);
   * // prints: []
   * ```
   */
  async check(options: { readonly mappings?: boolean } & CallOptions = {}): Promise<CheckReport> {
    const { mappings } = options;
    const params = mappings === undefined ? {} : { mappings };
    return this.#requests.call("pool.check", params, options);
  }

  /**
   * Backs up the pool's maps and records, of one moment, into its folder; no data. `keep` says how many
   * stay, this one included: 1 to 1000, by default 8. Without `timeoutMs` it takes as long as it takes.
   * BUSY, NO_SPACE, UNSUPPORTED, FORBIDDEN.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const { admin } = await client.rights.whoAmI();
   * console.log(admin ? (await client.pool.backup({ keep: 2 })).sizeBytes > 0n : true);
   * // prints: true
   * ```
   */
  async backup(options: { readonly keep?: number } & ChangeOptions = {}): Promise<BackupEntry> {
    const { keep } = options;
    const params = keep === undefined ? {} : { keep };
    return backupFromWire(await this.#requests.call("pool.backup", params, options));
  }

  /**
   * The backups in the pool's folder, the newest first. FORBIDDEN.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const { admin } = await client.rights.whoAmI();
   * if (admin) await client.pool.backup({ keep: 1 });
   * console.log(admin ? (await client.pool.backups()).length : 1);
   * // prints: 1
   * ```
   */
  async backups(options: CallOptions = {}): Promise<readonly BackupEntry[]> {
    return (await this.#requests.call("pool.backups", {}, options)).map(backupFromWire);
  }

  /**
   * Makes the pool larger: its files are made so long, or as much is used of its block devices, by
   * default all. INVALID_PARAMS below the present size, NO_SPACE, FORBIDDEN.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const { admin } = await client.rights.whoAmI();
   * const dataBytes = 2n << 30n;
   * console.log(admin ? (await client.pool.extend({ dataBytes })).dataBytes : dataBytes);
   * // prints: 2147483648n
   * ```
   */
  async extend(
    options: { readonly dataBytes?: bigint; readonly metadataBytes?: bigint } & ChangeOptions = {},
  ): Promise<Extended> {
    const { dataBytes, metadataBytes } = options;
    const params = {
      ...(dataBytes === undefined ? {} : { dataBytes: dataBytes.toString() }),
      ...(metadataBytes === undefined ? {} : { metadataBytes: metadataBytes.toString() }),
    };
    const extended = await this.#requests.call("pool.extend", params, options);
    return {
      outcome: extended.outcome,
      dataBytes: BigInt(extended.dataBytes),
      metadataBytes: BigInt(extended.metadataBytes),
    };
  }

  /**
   * How the pool grows by itself, when it refuses new devices, and what it answers when it is full.
   * FORBIDDEN.
   */
  async spacePolicy(options: CallOptions = {}): Promise<SpacePolicy> {
    return spacePolicyFromWire(await this.#requests.call("pool.spacePolicy", {}, options));
  }

  /**
   * Changes what is given of it, and tells all of it as it is then. INVALID_PARAMS where that makes no
   * sense, FORBIDDEN.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const { admin } = await client.rights.whoAmI();
   * const dataFloorBytes = 16n << 20n;
   * const set = admin ? await client.pool.setSpacePolicy({ dataFloorBytes }) : undefined;
   * console.log(set?.policy.dataFloorBytes ?? dataFloorBytes);
   * // prints: 16777216n
   * ```
   */
  async setSpacePolicy(options: SpacePolicyChange & ChangeOptions): Promise<SpacePolicySet> {
    const params = spacePolicyChangeToWire(options);
    const { outcome, policy } = await this.#requests.call("pool.setSpacePolicy", params, options);
    return { outcome, policy: spacePolicyFromWire(policy) };
  }
}

function backupFromWire(backup: MethodResult<"pool.backup">): BackupEntry {
  const { transactionId, sizeBytes } = backup;
  return { ...backup, transactionId: BigInt(transactionId), sizeBytes: BigInt(sizeBytes) };
}

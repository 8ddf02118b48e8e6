/** The pool's sizes and its space policy in the ledger. */
import type { OverProvisioning, SpacePolicy } from "../space/policy.ts";
import type { PoolSizes } from "../space/sizes.ts";
import type { LedgerDatabase, Row } from "./database.ts";

/** Part of the ledger's schema. */
export const SPACE_SCHEMA = `
CREATE TABLE space_policy (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  data_growth INTEGER NOT NULL CHECK (data_growth IN (0, 1)),
  data_step_bytes INTEGER NOT NULL CHECK (data_step_bytes > 0),
  data_ceiling_bytes INTEGER CHECK (data_ceiling_bytes > 0),
  metadata_growth INTEGER NOT NULL CHECK (metadata_growth IN (0, 1)),
  metadata_step_bytes INTEGER NOT NULL CHECK (metadata_step_bytes > 0),
  metadata_ceiling_bytes INTEGER CHECK (metadata_ceiling_bytes > 0),
  host_reserve_bytes INTEGER NOT NULL CHECK (host_reserve_bytes >= 0),
  data_floor_bytes INTEGER NOT NULL CHECK (data_floor_bytes >= 0),
  metadata_floor_bytes INTEGER NOT NULL CHECK (metadata_floor_bytes >= 0),
  -- NULL: devices may promise any sum.
  over_provisioning_ratio REAL CHECK (over_provisioning_ratio >= 1),
  -- 1 and no ratio asked for: what is promised is there.
  over_provisioning_forbidden INTEGER NOT NULL CHECK (over_provisioning_forbidden IN (0, 1)),
  on_no_space TEXT NOT NULL CHECK (
    on_no_space IN ('queue_if_no_space', 'error_if_no_space', 'error_when_exhausted')),
  give_back_removed INTEGER NOT NULL CHECK (give_back_removed IN (0, 1))
) STRICT;
`;

export class SpaceTable {
  readonly #db: LedgerDatabase;

  constructor(db: LedgerDatabase) {
    this.#db = db;
  }

  policy(): SpacePolicy | undefined {
    const row = this.#db.get("SELECT * FROM space_policy");
    return row === undefined ? undefined : policyOf(row);
  }

  setPolicy(policy: SpacePolicy): void {
    this.#db.write("policy", () => this.writePolicy(policy));
  }

  /** Inside a transaction of the caller's. */
  writePolicy(policy: SpacePolicy): void {
    const { dataGrowth: data, metadataGrowth: metadata, overProvisioning: over } = policy;
    this.#db.run(
      "INSERT OR REPLACE INTO space_policy VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      data.enabled ? 1n : 0n,
      data.stepBytes,
      data.ceilingBytes ?? null,
      metadata.enabled ? 1n : 0n,
      metadata.stepBytes,
      metadata.ceilingBytes ?? null,
      policy.hostReserveBytes,
      policy.dataFloorBytes,
      policy.metadataFloorBytes,
      over.mode === "ratio" ? over.ratio : null,
      over.mode === "forbid" ? 1n : 0n,
      policy.onNoSpace,
      policy.giveBackRemoved ? 1n : 0n,
    );
  }

  /** The growth that shall be: until `endGrowth` the sizes are between the old and these. */
  beginGrowth(target: PoolSizes): void {
    this.#db.write("growth", () =>
      this.#db.run(
        "UPDATE pool SET data_target_bytes = ?, metadata_target_bytes = ?",
        target.dataBytes,
        target.metadataBytes,
      ),
    );
  }

  /** Nothing of the growth has reached the kernel's pool. */
  cancelGrowth(): void {
    this.#db.write("growth taken back", () =>
      this.#db.run(
        "UPDATE pool SET data_target_bytes = data_bytes, metadata_target_bytes = metadata_bytes",
      ),
    );
  }

  /** The kernel's pool has the target sizes. */
  endGrowth(): void {
    this.#db.write("growth ended", () =>
      this.#db.run(
        "UPDATE pool SET data_bytes = data_target_bytes, metadata_bytes = metadata_target_bytes",
      ),
    );
  }

  /** What all devices of the ledger promise together, the removed ones that it still holds included. */
  promisedBytes(): bigint {
    return this.#db.get("SELECT promised_bytes FROM device_total")?.["promised_bytes"] as bigint;
  }
}

function policyOf(row: Row): SpacePolicy {
  return {
    dataGrowth: {
      enabled: row["data_growth"] === 1n,
      stepBytes: row["data_step_bytes"] as bigint,
      ceilingBytes: (row["data_ceiling_bytes"] as bigint | null) ?? undefined,
    },
    metadataGrowth: {
      enabled: row["metadata_growth"] === 1n,
      stepBytes: row["metadata_step_bytes"] as bigint,
      ceilingBytes: (row["metadata_ceiling_bytes"] as bigint | null) ?? undefined,
    },
    hostReserveBytes: row["host_reserve_bytes"] as bigint,
    dataFloorBytes: row["data_floor_bytes"] as bigint,
    metadataFloorBytes: row["metadata_floor_bytes"] as bigint,
    overProvisioning: overProvisioningOf(row),
    onNoSpace: row["on_no_space"] as SpacePolicy["onNoSpace"],
    giveBackRemoved: row["give_back_removed"] === 1n,
  };
}

function overProvisioningOf(row: Row): OverProvisioning {
  if (row["over_provisioning_forbidden"] === 1n) return { mode: "forbid" };
  const ratio = row["over_provisioning_ratio"];
  return typeof ratio === "number" ? { mode: "ratio", ratio } : { mode: "allow" };
}

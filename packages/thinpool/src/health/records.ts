/** What the ledger remembers of the metadata's health. Each method that writes is one durable commit. */
import type { LedgerDatabase, Row } from "../store/database.ts";

/** Who holds the pool's one metadata snapshot, or held it when the process died. */
export interface SnapshotHolder {
  readonly owner: string;
  readonly sinceMs: number;
}

/** New metadata stands ready in full; what is left is to put it in the old one's place. */
export interface MetadataSwap {
  readonly kind: "repair" | "restore";
  /** Where the new metadata stands. */
  readonly sparePath: string;
  /** Where the old metadata goes (files), or stays (block devices). */
  readonly keptPath: string;
  readonly atMs: number;
}

export class HealthRecords {
  readonly #db: LedgerDatabase;

  constructor(db: LedgerDatabase) {
    this.#db = db;
  }

  /** True where the pool was taken down in order and nothing was wrong with it. */
  get cleanStop(): boolean {
    return this.#row()["clean_stop"] === 1n;
  }

  setCleanStop(clean: boolean): void {
    this.#db.write("clean stop", () =>
      this.#db.run("UPDATE health SET clean_stop = ?", clean ? 1n : 0n),
    );
  }

  get snapshotHolder(): SnapshotHolder | undefined {
    const row = this.#row();
    const owner = row["snapshot_owner"];
    if (typeof owner !== "string") return undefined;
    return { owner, sinceMs: Number(row["snapshot_at_ms"]) };
  }

  setSnapshotHolder(holder: SnapshotHolder | undefined): void {
    this.#db.write("metadata snapshot", () =>
      this.#db.run(
        "UPDATE health SET snapshot_owner = ?, snapshot_at_ms = ?",
        holder?.owner ?? null,
        holder === undefined ? null : BigInt(holder.sinceMs),
      ),
    );
  }

  get swap(): MetadataSwap | undefined {
    const row = this.#db.get("SELECT * FROM metadata_swap");
    if (row === undefined) return undefined;
    return {
      kind: row["kind"] as MetadataSwap["kind"],
      sparePath: row["spare_path"] as string,
      keptPath: row["kept_path"] as string,
      atMs: Number(row["at_ms"]),
    };
  }

  beginSwap(swap: MetadataSwap): void {
    this.#db.write("metadata swap begun", () =>
      this.#db.run(
        "INSERT INTO metadata_swap (id, kind, spare_path, kept_path, at_ms) VALUES (1, ?, ?, ?, ?)",
        swap.kind,
        swap.sparePath,
        swap.keptPath,
        BigInt(swap.atMs),
      ),
    );
  }

  /** The new metadata is in place; `metadataPath` where that is another device from now on. */
  endSwap(metadataPath?: string): void {
    this.#db.write("metadata swap ended", () => {
      this.#db.run("DELETE FROM metadata_swap");
      if (metadataPath !== undefined) {
        this.#db.run("UPDATE pool SET metadata_path = ?", metadataPath);
      }
    });
  }

  #row(): Row {
    return this.#db.get("SELECT * FROM health") ?? {};
  }
}

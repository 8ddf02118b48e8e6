/** The ledger's statements as its parts see them. Only `write` commits. */
import type { SQLOutputValue } from "node:sqlite";

export type SqlValue = bigint | number | string | null;
export type SqlRow = Record<string, SQLOutputValue>;

export interface Sql {
  get(text: string, ...values: readonly SqlValue[]): SqlRow | undefined;
  all(text: string, ...values: readonly SqlValue[]): readonly SqlRow[];
  run(text: string, ...values: readonly SqlValue[]): void;
  /** One transaction and one durable commit. */
  write<T>(body: () => T): T;
}

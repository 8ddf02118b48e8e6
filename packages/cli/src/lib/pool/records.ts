/** A pool's journal and backups as text. */
import type { BackupEntry } from "@thinpool/sdk";
import type { JournalEntry, PlannedRecovery } from "@thinpool/thinpool";
import { formatSize } from "../size.ts";
import { renderTable } from "../table.ts";

const time = (atMs: number): string => new Date(atMs).toISOString();

export function renderDecisions(decisions: PlannedRecovery["decisions"]): string {
  if (decisions.length === 0) return "Opening would find all in order.";
  return decisions
    .map(({ action, object, reason }) => `would ${action} ${object}: ${reason}`)
    .join("\n");
}

export function renderJournal(entries: readonly JournalEntry[]): string {
  return renderTable<JournalEntry>(
    [
      { heading: "NUMBER", align: "right", value: ({ number }) => String(number) },
      { heading: "TIME", value: ({ atMs }) => time(atMs) },
      { heading: "ACTION", value: ({ action }) => action },
      { heading: "OBJECT", value: ({ object }) => object },
      { heading: "REASON", value: ({ reason }) => reason },
    ],
    entries,
  );
}

export function renderBackups(
  backups: readonly BackupEntry[],
  { bytes }: { readonly bytes: boolean },
): string {
  return renderTable<BackupEntry>(
    [
      { heading: "NAME", value: ({ name }) => name },
      { heading: "TIME", value: ({ atMs }) => time(atMs) },
      {
        heading: "TRANSACTION",
        align: "right",
        value: ({ transactionId }) => String(transactionId),
      },
      {
        heading: "SIZE",
        align: "right",
        value: ({ sizeBytes }) => (bytes ? String(sizeBytes) : formatSize(sizeBytes)),
      },
    ],
    backups,
  );
}

/** Leases as text: references that end by themselves. */
import type { MountEntry } from "@thinpool/sdk";
import { formatDuration } from "./duration.ts";
import { renderTable } from "./table.ts";

export function leasesOf(mounts: readonly MountEntry[]): readonly MountEntry[] {
  return mounts.filter(({ holder }) => holder === "lease");
}

export function renderLeases(leases: readonly MountEntry[]): string {
  return renderTable<MountEntry>(
    [
      { heading: "DEVICE", value: ({ device }) => device },
      {
        heading: "ENDS IN",
        align: "right",
        value: ({ leaseLeftMs }) => (leaseLeftMs === undefined ? "?" : formatDuration(leaseLeftMs)),
      },
      { heading: "OWNER", align: "right", value: ({ ownerUid }) => String(ownerUid) },
      { heading: "PATH", value: ({ path }) => path },
      { heading: "REFERENCE", value: ({ reference }) => reference },
    ],
    leases.toSorted((a, b) => (a.leaseLeftMs ?? 0) - (b.leaseLeftMs ?? 0)),
  );
}

/** Devices as text. */
import type { Device } from "@thinpool/sdk";
import { formatSize } from "./size.ts";
import { renderTable } from "./table.ts";

export function renderDevices(devices: readonly Device[], { bytes }: { bytes: boolean }): string {
  const names = new Map(devices.map((device) => [device.uuid, device.name]));
  return renderTable<Device>(
    [
      { heading: "NAME", value: ({ name }) => name },
      {
        heading: "SIZE",
        align: "right",
        value: ({ sizeBytes }) => (bytes ? String(sizeBytes) : formatSize(sizeBytes)),
      },
      { heading: "FILESYSTEM", value: ({ filesystem }) => filesystem },
      {
        heading: "ORIGIN",
        // An origin that is removed, or not the caller's to see, has no name here.
        value: ({ originUuid }) =>
          originUuid === undefined ? "-" : (names.get(originUuid) ?? "?"),
      },
      { heading: "OWNER", align: "right", value: ({ ownerUid }) => String(ownerUid) },
      { heading: "ACTIVE", value: ({ active }) => (active ? "yes" : "no") },
      { heading: "CREATED", value: ({ createdAtMs }) => new Date(createdAtMs).toISOString() },
    ],
    devices,
  );
}

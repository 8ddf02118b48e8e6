/** Devices as text. */
import type { Device } from "@thinpool/sdk";
import { UsageError } from "./errors.ts";
import { formatSize } from "./size.ts";
import { treeOf } from "./device/tree.ts";
import { renderFields, renderTable } from "./table.ts";

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

/** A device in a few words: "base (10 GiB, ext4)". */
export function describeDevice({ name, sizeBytes, filesystem }: Device): string {
  return `${name} (${formatSize(sizeBytes)}, ${filesystem === "none" ? "no filesystem" : filesystem})`;
}

/** Like the daemon's EXISTS, for a dry run that asks it to make nothing. */
export function assertNameFree(devices: readonly Device[], name: string): void {
  if (!devices.some((device) => device.name === name)) return;
  throw new UsageError({ reason: `a device ${name} exists`, hint: "Choose another name." });
}

/** "a=1 b=2": neither keys nor values have spaces in them. */
export function renderLabels(labels: Device["labels"]): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? "-" : pairs.join(" ");
}

/** One device, a line for each thing that is known of it. */
export function renderDevice(device: Device, { bytes }: { bytes: boolean }): string {
  return renderFields([
    ["name", device.name],
    ["uuid", device.uuid],
    ["thin id", String(device.thinId)],
    ["size", bytes ? String(device.sizeBytes) : formatSize(device.sizeBytes)],
    ["filesystem", device.filesystem],
    ["origin", device.originUuid ?? "-"],
    ["owner", String(device.ownerUid)],
    ["active", device.active ? "yes" : "no"],
    ["read-only", device.readOnly === true ? "yes" : "no"],
    ["image", device.public === true ? "yes, others may clone it" : "no"],
    ["labels", renderLabels(device.labels)],
    ["transaction", String(device.transactionId)],
    ["created", new Date(device.createdAtMs).toISOString()],
  ]);
}

/** The lineage, with each device's size and owner beside it. */
export function renderTree(devices: readonly Device[], { bytes }: { bytes: boolean }): string {
  return renderTable(
    [
      { heading: "NAME", value: ({ prefix, device }) => prefix + device.name },
      {
        heading: "SIZE",
        align: "right",
        value: ({ device }) => (bytes ? String(device.sizeBytes) : formatSize(device.sizeBytes)),
      },
      { heading: "OWNER", align: "right", value: ({ device }) => String(device.ownerUid) },
      { heading: "ACTIVE", value: ({ device }) => (device.active ? "yes" : "no") },
    ],
    treeOf(devices),
  );
}

/** Images: devices of root's that were published. */
import type { Client, Device } from "@thinpool/sdk";
import { renderLabels } from "./device.ts";
import { CommandError } from "./errors.ts";
import { formatSize } from "./size.ts";
import { renderTable } from "./table.ts";

export function imagesOf(devices: readonly Device[]): readonly Device[] {
  return devices.filter((device) => device.public === true);
}

export function renderImages(images: readonly Device[], { bytes }: { bytes: boolean }): string {
  return renderTable<Device>(
    [
      { heading: "NAME", value: ({ name }) => name },
      {
        heading: "SIZE",
        align: "right",
        value: ({ sizeBytes }) => (bytes ? String(sizeBytes) : formatSize(sizeBytes)),
      },
      { heading: "FILESYSTEM", value: ({ filesystem }) => filesystem },
      { heading: "CREATED", value: ({ createdAtMs }) => new Date(createdAtMs).toISOString() },
      { heading: "LABELS", value: ({ labels }) => renderLabels(labels) },
    ],
    images,
  );
}

/** NO_IMAGE for a device that was not published, so that nobody's disk is taken for an image. */
export async function imageNamed(
  client: Pick<Client, "get">,
  name: string,
  operation: string,
): Promise<Device> {
  const device = await client.get({ name });
  if (device.public === true) return device;
  throw new CommandError({
    code: "NO_IMAGE",
    operation,
    object: name,
    reason: "it is a device, but no image",
    hint: "`thinpool image list` shows the images, `thinpool image publish` makes one.",
  });
}

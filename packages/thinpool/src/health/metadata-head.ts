/** The start of a metadata device: by it the kernel, and whoever is given the device, knows a pool. */
import type { Kernel } from "../kernel.ts";

/** Where these are zero the kernel takes the metadata for new (thin-provisioning.rst). */
export const METADATA_HEAD = { offsetBytes: 0n, lengthBytes: 4096n } as const;

/** From now on the device is empty to others; durable. */
export async function eraseMetadataHead(kernel: Kernel, path: string): Promise<void> {
  await kernel.blocks.zeroOut(path, METADATA_HEAD);
  await kernel.blocks.flush(path);
}

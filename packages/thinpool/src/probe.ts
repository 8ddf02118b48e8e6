/** Asked before anything is touched: can this process drive thin pools on this machine at all? */
import type { Kernel } from "./kernel.ts";

/** Rejects with NATIVE_PERMISSION or NATIVE_UNSUPPORTED; loads the thin-pool module where it is missing. */
export async function probeKernel(kernel: Kernel): Promise<void> {
  await kernel.dm.version();
  await kernel.dm.targetVersion("thin-pool");
}

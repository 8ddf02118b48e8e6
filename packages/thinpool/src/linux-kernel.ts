import {
  LinuxBlockDevices,
  LinuxDeviceMapper,
  LinuxLoopDevices,
  LinuxMounts,
} from "@thinpool/dm-native";
import { LinuxFilesystems } from "./filesystems.ts";
import type { Kernel } from "./kernel.ts";
import { LinuxMetadataTools } from "./tools/linux-metadata-tools.ts";

/** Holds descriptors and threads from its first call until it is disposed of. */
export interface LinuxKernel extends Kernel, AsyncDisposable {}

/**
 * The machine's own kernel. Nothing is opened before the first call. Disposing closes what the calls
 * opened and changes nothing in the kernel: close or detach the pool first.
 */
export function linuxKernel(): LinuxKernel {
  const dm = new LinuxDeviceMapper();
  const loops = new LinuxLoopDevices();
  const blocks = new LinuxBlockDevices();
  const mounts = new LinuxMounts();
  return {
    dm,
    loops,
    blocks,
    mounts,
    filesystems: new LinuxFilesystems(),
    metadataTools: new LinuxMetadataTools(),
    async [Symbol.asyncDispose]() {
      await using closing = new AsyncDisposableStack();
      for (const part of [dm, loops, blocks, mounts]) closing.defer(() => part.close());
    },
  };
}

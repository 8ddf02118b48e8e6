import {
  LinuxBlockDevices,
  LinuxDeviceMapper,
  LinuxLoopDevices,
  LinuxMounts,
} from "@thinpool/dm-native";
import { LinuxFilesystems } from "./filesystems.ts";
import type { Kernel } from "./kernel.ts";

/** The machine's own kernel. Nothing is opened before the first call. */
export function linuxKernel(): Kernel {
  return {
    dm: new LinuxDeviceMapper(),
    loops: new LinuxLoopDevices(),
    blocks: new LinuxBlockDevices(),
    mounts: new LinuxMounts(),
    filesystems: new LinuxFilesystems(),
  };
}

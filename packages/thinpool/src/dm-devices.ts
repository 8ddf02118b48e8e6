/** The dm devices of a pool: its own and those of its thin devices. */
import type { DmDeviceInfo } from "@thinpool/dm-native";
import { dmNamePrefix, dmUuidPrefix } from "./dm-names.ts";
import { isNative } from "./errors-from-native.ts";
import type { Kernel } from "./kernel.ts";

/** Every dm device whose uuid says that it is of this pool. One that goes meanwhile is left out. */
export async function dmDevicesOf(
  { dm }: Pick<Kernel, "dm">,
  poolUuid: string,
): Promise<readonly DmDeviceInfo[]> {
  const prefix = dmUuidPrefix(poolUuid);
  const found: DmDeviceInfo[] = [];
  for (const { dev, name, uuid } of await dm.listDevices()) {
    // Kernels before 5.14 list no uuids: then the name says which to ask.
    if (!(uuid?.startsWith(prefix) ?? name.startsWith(dmNamePrefix(poolUuid)))) continue;
    try {
      const info = await dm.deviceStatus({ dev });
      if (info.uuid?.startsWith(prefix) === true) found.push(info);
    } catch (error) {
      if (!isNative(error, "NATIVE_NOT_FOUND")) throw error;
    }
  }
  return found;
}

/** All commands by their path: oclif's explicit way, which needs no search of folders at each start. */
import type { Command } from "@oclif/core";
import DeviceCreate from "./device/create.ts";
import DeviceList from "./device/list.ts";
import DeviceRemove from "./device/remove.ts";
import DeviceSnapshot from "./device/snapshot.ts";
import Mount from "./mount.ts";
import Mounts from "./mounts.ts";
import PoolCreate from "./pool/create.ts";
import PoolStatus from "./pool/status.ts";
import Serve from "./serve.ts";
import Umount from "./umount.ts";

export const commands: Readonly<Record<string, Command.Class>> = {
  "device:create": DeviceCreate,
  "device:list": DeviceList,
  "device:remove": DeviceRemove,
  "device:snapshot": DeviceSnapshot,
  mount: Mount,
  mounts: Mounts,
  "pool:create": PoolCreate,
  "pool:status": PoolStatus,
  serve: Serve,
  umount: Umount,
};

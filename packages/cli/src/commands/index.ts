/** All commands by their path: oclif's explicit way, which needs no search of folders at each start. */
import type { Command } from "@oclif/core";
import CompletionCandidates from "./completion/candidates.ts";
import CompletionScript from "./completion/script.ts";
import DeviceCreate from "./device/create.ts";
import DeviceList from "./device/list.ts";
import DevicePublish from "./device/publish.ts";
import DeviceRemove from "./device/remove.ts";
import DeviceSnapshot from "./device/snapshot.ts";
import DeviceShow from "./device/show.ts";
import DeviceTree from "./device/tree.ts";
import Doctor from "./doctor.ts";
import Explain from "./explain.ts";
import Mount from "./mount.ts";
import Mounts from "./mounts.ts";
import PolicyTest from "./policy/test.ts";
import PoolCreate from "./pool/create.ts";
import PoolStatus from "./pool/status.ts";
import Serve from "./serve.ts";
import Top from "./top.ts";
import Umount from "./umount.ts";
import WhoAmI from "./whoami.ts";

export const commands: Readonly<Record<string, Command.Class>> = {
  "completion:candidates": CompletionCandidates,
  "completion:script": CompletionScript,
  "device:create": DeviceCreate,
  "device:list": DeviceList,
  "device:publish": DevicePublish,
  "device:remove": DeviceRemove,
  "device:snapshot": DeviceSnapshot,
  "device:show": DeviceShow,
  "device:tree": DeviceTree,
  doctor: Doctor,
  explain: Explain,
  mount: Mount,
  mounts: Mounts,
  "policy:test": PolicyTest,
  "pool:create": PoolCreate,
  "pool:status": PoolStatus,
  serve: Serve,
  top: Top,
  umount: Umount,
  whoami: WhoAmI,
};

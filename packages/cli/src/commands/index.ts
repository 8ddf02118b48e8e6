/** All commands by their path: oclif's explicit way, which needs no search of folders at each start. */
import type { Command } from "@oclif/core";
import CompletionCandidates from "./completion/candidates.ts";
import CompletionScript from "./completion/script.ts";
import DeviceActivate from "./device/activate.ts";
import DeviceClone from "./device/clone.ts";
import DeviceCreate from "./device/create.ts";
import DeviceDeactivate from "./device/deactivate.ts";
import DeviceDiff from "./device/diff.ts";
import DeviceExport from "./device/export.ts";
import DeviceLabel from "./device/label.ts";
import DeviceList from "./device/list.ts";
import DeviceRemove from "./device/remove.ts";
import DeviceRename from "./device/rename.ts";
import DeviceResize from "./device/resize.ts";
import DeviceRevert from "./device/revert.ts";
import DeviceShow from "./device/show.ts";
import DeviceSnapshot from "./device/snapshot.ts";
import DeviceTree from "./device/tree.ts";
import DeviceTrim from "./device/trim.ts";
import Doctor from "./doctor.ts";
import Explain from "./explain.ts";
import ImageCreate from "./image/create.ts";
import ImageImport from "./image/import.ts";
import ImageList from "./image/list.ts";
import ImagePublish from "./image/publish.ts";
import ImageRemove from "./image/remove.ts";
import LeaseList from "./lease/list.ts";
import LeaseRelease from "./lease/release.ts";
import LeaseRenew from "./lease/renew.ts";
import Logs from "./logs.ts";
import Mount from "./mount.ts";
import Mounts from "./mounts.ts";
import PolicyShow from "./policy/show.ts";
import PolicyTest from "./policy/test.ts";
import PoolAdopt from "./pool/adopt.ts";
import PoolBackup from "./pool/backup.ts";
import PoolCheck from "./pool/check.ts";
import PoolCreate from "./pool/create.ts";
import PoolDestroy from "./pool/destroy.ts";
import PoolEvents from "./pool/events.ts";
import PoolExtend from "./pool/extend.ts";
import PoolList from "./pool/list.ts";
import PoolRecover from "./pool/recover.ts";
import PoolRepair from "./pool/repair.ts";
import PoolRestore from "./pool/restore.ts";
import PoolSet from "./pool/set.ts";
import PoolStatus from "./pool/status.ts";
import Serve from "./serve.ts";
import ServiceInstall from "./service/install.ts";
import ServiceStatus from "./service/status.ts";
import ServiceUninstall from "./service/uninstall.ts";
import TokenConnect from "./token/connect.ts";
import TokenCreate from "./token/create.ts";
import TokenList from "./token/list.ts";
import TokenRevoke from "./token/revoke.ts";
import Top from "./top.ts";
import Umount from "./umount.ts";
import WhoAmI from "./whoami.ts";

export const commands: Readonly<Record<string, Command.Class>> = {
  "completion:candidates": CompletionCandidates,
  "completion:script": CompletionScript,
  "device:activate": DeviceActivate,
  "device:clone": DeviceClone,
  "device:create": DeviceCreate,
  "device:deactivate": DeviceDeactivate,
  "device:diff": DeviceDiff,
  "device:export": DeviceExport,
  "device:label": DeviceLabel,
  "device:list": DeviceList,
  "device:remove": DeviceRemove,
  "device:rename": DeviceRename,
  "device:resize": DeviceResize,
  "device:revert": DeviceRevert,
  "device:show": DeviceShow,
  "device:snapshot": DeviceSnapshot,
  "device:tree": DeviceTree,
  "device:trim": DeviceTrim,
  doctor: Doctor,
  explain: Explain,
  "image:create": ImageCreate,
  "image:import": ImageImport,
  "image:list": ImageList,
  "image:publish": ImagePublish,
  "image:remove": ImageRemove,
  "lease:list": LeaseList,
  "lease:release": LeaseRelease,
  "lease:renew": LeaseRenew,
  logs: Logs,
  mount: Mount,
  mounts: Mounts,
  "policy:show": PolicyShow,
  "policy:test": PolicyTest,
  "pool:adopt": PoolAdopt,
  "pool:backup": PoolBackup,
  "pool:check": PoolCheck,
  "pool:create": PoolCreate,
  "pool:destroy": PoolDestroy,
  "pool:events": PoolEvents,
  "pool:extend": PoolExtend,
  "pool:list": PoolList,
  "pool:recover": PoolRecover,
  "pool:repair": PoolRepair,
  "pool:restore": PoolRestore,
  "pool:set": PoolSet,
  "pool:status": PoolStatus,
  serve: Serve,
  "service:install": ServiceInstall,
  "service:status": ServiceStatus,
  "service:uninstall": ServiceUninstall,
  "token:connect": TokenConnect,
  "token:create": TokenCreate,
  "token:list": TokenList,
  "token:revoke": TokenRevoke,
  top: Top,
  umount: Umount,
  whoami: WhoAmI,
};

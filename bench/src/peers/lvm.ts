/** lvm2: `lvcreate -s` of a thin volume, activated at once; one process each way. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import type { Kernel } from "@thinpool/thinpool";
import { shell } from "../shell.ts";
import { BLOCK_SECTORS, DATA_BYTES, DEVICE_BYTES, METADATA_BYTES } from "../sizes.ts";
import type { Bare } from "./bare.ts";
import type { Peer } from "./peer.ts";

const LVM = "/sbin/lvm";
const GROUP = "benchvg";
/** No udevd, no lvmpolld and no backup folder in the lab: each would only make lvm slower. */
const CONFIG =
  "devices/use_devicesfile=0 activation/udev_sync=0 activation/udev_rules=0 activation/monitoring=0 backup/backup=0 backup/archive=0";

export async function lvmPeer(kernel: Kernel, folder: string, bare: Bare): Promise<Peer> {
  mkdirSync(`${folder}/lvm`, { recursive: true });
  mkdirSync("/run/lock/lvm", { recursive: true });
  const file = `${folder}/lvm/disk`;
  writeFileSync(file, "");
  truncateSync(file, Number(DATA_BYTES + 8n * METADATA_BYTES));
  const loop = await kernel.loops.attach({ backingFile: file, directIo: true });
  const config = `${CONFIG} devices/filter=["a|^${loop.path}$|","r|.*|"]`;
  const lvm = (verb: string, ...args: string[]): void => {
    shell(LVM, verb, "--config", config, "-q", ...args);
  };
  lvm("pvcreate", loop.path);
  lvm("vgcreate", GROUP, loop.path);
  lvm(
    "lvcreate",
    ...["--type", "thin-pool", "-L", `${DATA_BYTES}b`, "-n", "pool"],
    ...["--poolmetadatasize", `${METADATA_BYTES}b`, "--poolmetadataspare", "n"],
    ...["--chunksize", `${BLOCK_SECTORS}s`, GROUP],
  );
  lvm("lvcreate", "-V", `${DEVICE_BYTES}b`, "-T", `${GROUP}/pool`, "-n", "base");
  shell("mkfs.ext4", "-q", "-F", "-E", "nodiscard", `/dev/mapper/${GROUP}-base`);
  lvm("lvchange", "-an", `${GROUP}/base`);
  let made = 0;
  const run = (verb: string, ...args: string[]): Promise<number> =>
    bare.spawn(LVM, verb, "--config", config, "-q", ...args);
  return {
    name: "lvm",
    snapshot: () => {
      made += 1;
      return run("lvcreate", "-s", "-kn", "-ay", "-n", `s${made}`, `${GROUP}/base`);
    },
    remove: () => run("lvremove", "-y", `${GROUP}/s${made}`),
    async close() {
      lvm("vgremove", "-y", GROUP);
      await kernel.loops.detach(loop.path);
    },
  };
}

/** One device's way from active to mounted and back, with the proof that it is the right one. */
import type { Device, DmUuid, Kernel, MountInfo } from "@thinpool/thinpool";
import { NativeError, dmUuid, formatDevNumber, sameDevNumber } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import type { Observed } from "../references/record.ts";
import type { FolderOwner, MountFolders } from "./folders.ts";
import { MOUNT_FLAGS, MOUNT_OPTIONS, idMapFor } from "./mount-table.ts";

export interface MadeMount {
  readonly mountId: number;
  /** "major:minor" */
  readonly dev: string;
}

export class Mounter {
  readonly #kernel: Kernel;
  readonly #folders: MountFolders;

  constructor(kernel: Kernel, folders: MountFolders) {
    this.#kernel = kernel;
    this.#folders = folders;
  }

  /** The device must be active. Whatever fails, nothing is mounted and the target is gone. */
  async mount(device: Device, uuid: string, owner: FolderOwner): Promise<MadeMount> {
    const { filesystem } = device;
    if (filesystem === "none") {
      throw new RequestError({
        code: "UNSUPPORTED",
        operation: "mount",
        object: device.name,
        reason: "the device was made without a filesystem",
        hint: "Clone a device that has one.",
      });
    }
    const mountPoints = new Set((await this.#kernel.mounts.list()).map((info) => info.mountPoint));
    const target = await this.#folders.makeTarget(owner, device.name, mountPoints);
    try {
      const active = await this.#kernel.dm.deviceStatus({ uuid: dmUuid(uuid) });
      const idMap = idMapFor(owner);
      const info = await this.#kernel.mounts.mount({
        source: device.path,
        type: filesystem,
        target,
        flags: MOUNT_FLAGS,
        options: MOUNT_OPTIONS[filesystem],
        ...(idMap === undefined ? {} : { idMap }),
      });
      await this.#prove(info, active.dev);
      return { mountId: info.mountId, dev: formatDevNumber(info.dev) };
    } catch (error) {
      await this.#folders.removeTarget(target);
      throw error;
    }
  }

  /** "gone": the mount was no longer there. BUSY where a process works in it. */
  async unmount(target: string, mountId: number): Promise<"unmounted" | "gone"> {
    let outcome: "unmounted" | "gone" = "unmounted";
    try {
      await this.#kernel.mounts.unmount(target, { mountId });
    } catch (error) {
      if (!(error instanceof NativeError) || error.code !== "NATIVE_NOT_FOUND") throw error;
      outcome = "gone";
    }
    await this.#folders.removeTarget(target);
    return outcome;
  }

  /** What the kernel shows for the device with this dm uuid. */
  async observe(uuid: string): Promise<Observed> {
    const [active, mounts] = await Promise.all([
      this.#activeDev(dmUuid(uuid)),
      this.#kernel.mounts.list(),
    ]);
    return {
      activeDev: active,
      mounts: mounts.map((info) => ({
        mountId: info.mountId,
        dev: formatDevNumber(info.dev),
        mountPoint: info.mountPoint,
      })),
    };
  }

  /** All that is mounted below the root of the targets, ours or not. */
  async mountsBelowRoot(): Promise<readonly MountInfo[]> {
    const all = await this.#kernel.mounts.list();
    return all.filter((info) => this.#folders.contains(info.mountPoint));
  }

  async #activeDev(uuid: DmUuid): Promise<string | undefined> {
    try {
      return formatDevNumber((await this.#kernel.dm.deviceStatus({ uuid })).dev);
    } catch (error) {
      if (error instanceof NativeError && error.code === "NATIVE_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** The node's name was used; the mount's own device number is what counts. */
  async #prove(info: MountInfo, expected: MountInfo["dev"]): Promise<void> {
    if (sameDevNumber(info.dev, expected)) return;
    await this.#kernel.mounts.unmount(info.mountPoint, { mountId: info.mountId });
    throw new RequestError({
      code: "INTERNAL",
      operation: "mount",
      object: info.mountPoint,
      reason: `device ${formatDevNumber(info.dev)} was mounted, not ${formatDevNumber(expected)}`,
    });
  }
}

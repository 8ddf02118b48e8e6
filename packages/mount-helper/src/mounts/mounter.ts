/** One device's way from active to mounted and back, with the proof that it is the right one. */
import type {
  CallerIds,
  Device,
  DmUuid,
  Kernel,
  MountInfo,
  MountRequest,
  OpenNamespace,
} from "@thinpool/thinpool";
import {
  NativeError,
  closeDescriptor,
  dmUuid,
  formatDevNumber,
  openMountNamespace,
  sameDevNumber,
} from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";
import type { MountRecord, Observed } from "../references/record.ts";
import { openMountFolder } from "./caller-folder.ts";
import type { BlockNodes } from "./block-nodes.ts";
import type { MountFolders } from "./folders.ts";
import { idMapFor, mountFlags, mountOptions } from "./mount-table.ts";

/** How often a mount is looked for again whose folder was moved between looking and unmounting. */
const MAX_UNMOUNT_ATTEMPTS = 5;

/** In place of a mount id, of what is no mount: the kernel's begin at 1. */
const NO_MOUNT = 0;

export interface MadeMount {
  readonly mountId: number;
  /** "major:minor" */
  readonly dev: string;
}

/** Where the place is a caller's folder: with whose rights, and below which roots. */
export interface FolderRights {
  readonly ids: CallerIds;
  readonly roots: readonly string[];
  /** The mount namespace that the folder is in; undefined: the daemon's own. */
  readonly namespace: Pick<OpenNamespace, "descriptor" | "topDescriptor"> | undefined;
}

type Wanted = Pick<MountRecord, "dmUuid" | "owner" | "place" | "target" | "namespace" | "form">;
type Place = Pick<MountRecord, "namespace" | "mountId" | "dev">;

export class Mounter {
  readonly #kernel: Kernel;
  readonly #folders: MountFolders;
  readonly #nodes: BlockNodes;

  constructor(kernel: Kernel, folders: MountFolders, nodes: BlockNodes) {
    this.#kernel = kernel;
    this.#folders = folders;
    this.#nodes = nodes;
  }

  /** The device must be active. Whatever fails, nothing is mounted and the daemon's own target is gone. */
  async mount(device: Device, wanted: Wanted, rights: FolderRights): Promise<MadeMount> {
    if (wanted.place === "block") return this.#giveNode(wanted);
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
    const { target } = wanted;
    if (wanted.place === "folder") {
      const { roots, ids, namespace } = rights;
      const top = namespace?.topDescriptor;
      const targetDescriptor = await openMountFolder(target, roots, ids, top);
      try {
        const within = namespace && { namespaceDescriptor: namespace.descriptor };
        const on = { targetDescriptor, ...within };
        return await this.#mountOn(device, filesystem, wanted, on);
      } finally {
        await closeDescriptor(targetDescriptor);
      }
    }
    const mountPoints = new Set((await this.#kernel.mounts.list()).map((info) => info.mountPoint));
    await this.#folders.makeTarget(wanted.owner, device.name, mountPoints);
    try {
      return await this.#mountOn(device, filesystem, wanted, {});
    } catch (error) {
      await this.#folders.removeTarget(target);
      throw error;
    }
  }

  async #giveNode({ dmUuid: uuid, owner, target, form }: Wanted): Promise<MadeMount> {
    const { dev } = await this.#kernel.dm.deviceStatus({ uuid: dmUuid(uuid) });
    await this.#nodes.give(target, { dev, owner, readOnly: form.readOnly });
    return { mountId: NO_MOUNT, dev: formatDevNumber(dev) };
  }

  async #mountOn(
    device: Device,
    type: "ext4" | "xfs",
    { dmUuid: uuid, owner, target, form, namespace }: Wanted,
    on: Pick<MountRequest, "targetDescriptor" | "namespaceDescriptor">,
  ): Promise<MadeMount> {
    const active = await this.#kernel.dm.deviceStatus({ uuid: dmUuid(uuid) });
    const idMap = form.ownership === "mapped" ? idMapFor(owner) : undefined;
    const info = await this.#kernel.mounts.mount({
      source: device.path,
      type,
      target,
      ...on,
      flags: mountFlags(form),
      options: mountOptions(type, form),
      ...(idMap === undefined ? {} : { idMap }),
      ...(form.ownership === "top-folder" ? { topFolderOwner: owner } : {}),
    });
    await this.#prove(info, active.dev, namespace);
    return { mountId: info.mountId, dev: formatDevNumber(info.dev) };
  }

  /**
   * "gone": the mount was no longer there. BUSY where a process works in it. Goes by the mount's id: a
   * caller may have moved the folder that it is on. `lazy` takes it off the tree at once.
   */
  async unmount(
    record: Place & Pick<MountRecord, "place" | "target" | "owner" | "form" | "dmUuid">,
    options: { readonly lazy?: boolean } = {},
  ): Promise<"unmounted" | "gone"> {
    if (record.place === "block") return this.#takeNodeBack(record, options);
    const outcome = await this.#unmountById(record, options);
    await this.tidy(record);
    return outcome;
  }

  /** BUSY while somebody has the device open, and then the node stays. */
  async #takeNodeBack(
    record: Pick<MountRecord, "target" | "owner" | "form" | "dmUuid">,
    { lazy = false }: { readonly lazy?: boolean },
  ): Promise<"unmounted" | "gone"> {
    const { target, owner, form, dmUuid: uuid } = record;
    const readOnly = form.readOnly;
    const before = await this.#nodes.devOf(target);
    // First, so that nobody opens it between looking and taking.
    const outcome = (await this.#nodes.takeBack(target)) ? "unmounted" : "gone";
    const status = this.#kernel.dm.deviceStatus({ uuid: dmUuid(uuid) });
    const { openCount, dev } = await status.catch(async (error: unknown) => {
      // Its holder is told that it stays: so it does.
      if (before !== undefined) await this.#nodes.give(target, { dev: before, owner, readOnly });
      throw error;
    });
    if (openCount === 0 || lazy) return outcome;
    await this.#nodes.give(target, { dev, owner, readOnly });
    throw new RequestError({
      code: "BUSY",
      operation: "device.deactivate",
      object: target,
      reason: `it is open (${openCount} ${openCount === 1 ? "time" : "times"})`,
      hint: "End the program that uses it: fuser -v shows which.",
    });
  }

  /** The daemon's own folder for the mount, or its node, goes; a caller's folder stays. */
  async tidy({ place, target }: Pick<MountRecord, "place" | "target">): Promise<void> {
    // Only an empty folder can go.
    if (place === "own") await this.#folders.removeTarget(target);
    if (place === "block") await this.#nodes.takeBack(target);
  }

  /** The device goes at its last close, even if the daemon is not there to see it. */
  async removeAtLastClose(uuid: string): Promise<void> {
    try {
      await this.#kernel.dm.removeDevice({ uuid: dmUuid(uuid) }, { deferred: true });
    } catch (error) {
      if (!(error instanceof NativeError) || error.code !== "NATIVE_NOT_FOUND") throw error;
    }
  }

  /** What the kernel shows for the device with this dm uuid, where the record's mount would be. */
  async observe(
    {
      dmUuid: uuid,
      namespace,
      place,
      target,
    }: Pick<MountRecord, "dmUuid" | "namespace" | "place" | "target">,
    bootId: string,
  ): Promise<Observed> {
    if (place === "block") {
      const [activeDev, dev] = await Promise.all([
        this.#activeDev(dmUuid(uuid)),
        this.#nodes.devOf(target),
      ]);
      const node = { mountId: NO_MOUNT, mountPoint: target };
      const mounts = dev === undefined ? [] : [{ ...node, dev: formatDevNumber(dev) }];
      return { bootId, activeDev, mounts };
    }
    const [active, mounts] = await Promise.all([
      this.#activeDev(dmUuid(uuid)),
      this.#within(namespace, (where) => this.#kernel.mounts.list(where)),
    ]);
    return {
      bootId,
      activeDev: active,
      mounts: (mounts ?? []).map((info) => ({
        mountId: info.mountId,
        dev: formatDevNumber(info.dev),
        mountPoint: info.mountPoint,
      })),
    };
  }

  /** All that is mounted below the root of the targets, ours or not, and every mount of these devices. */
  async mountsToAccountFor(devs: ReadonlySet<string>): Promise<readonly MountInfo[]> {
    const all = await this.#kernel.mounts.list();
    return all.filter(
      (info) => this.#folders.contains(info.mountPoint) || devs.has(formatDevNumber(info.dev)),
    );
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
  async #prove(
    info: MountInfo,
    expected: MountInfo["dev"],
    namespace: number | undefined,
  ): Promise<void> {
    if (sameDevNumber(info.dev, expected)) return;
    const { mountId } = info;
    await this.#unmountById({ namespace, mountId, dev: formatDevNumber(info.dev) }, {});
    throw new RequestError({
      code: "INTERNAL",
      operation: "mount",
      object: info.mountPoint,
      reason: `device ${formatDevNumber(info.dev)} was mounted, not ${formatDevNumber(expected)}`,
    });
  }

  /**
   * Runs `work` in the mount namespace of that number. Undefined where no process is in it: then nobody
   * sees its mounts any more, and they go with it. It is held no longer than that.
   */
  async #within<T>(
    namespace: number | undefined,
    work: (where: { readonly namespaceDescriptor?: number }) => Promise<T>,
  ): Promise<T | undefined> {
    if (namespace === undefined) return work({});
    const namespaceDescriptor = await openMountNamespace(namespace);
    if (namespaceDescriptor === undefined) return undefined;
    try {
      return await work({ namespaceDescriptor });
    } finally {
      await closeDescriptor(namespaceDescriptor);
    }
  }

  async #unmountById(
    place: Place,
    options: { readonly lazy?: boolean },
  ): Promise<"unmounted" | "gone"> {
    const outcome = await this.#within(place.namespace, (where) =>
      this.#unmountIn(place, { ...options, ...where }),
    );
    return outcome ?? "gone";
  }

  /** Where the mount is by now: its caller may be moving the folder at this very moment. */
  async #unmountIn(
    { mountId, dev }: Place,
    options: { readonly lazy?: boolean; readonly namespaceDescriptor?: number },
  ): Promise<"unmounted" | "gone"> {
    if (mountId === undefined) throw new Error("a mount without an id can't be unmounted");
    for (let attempt = 1; ; attempt += 1) {
      const info = (await this.#kernel.mounts.list(options)).find(
        (mount) => mount.mountId === mountId && formatDevNumber(mount.dev) === dev,
      );
      if (info === undefined) return "gone";
      try {
        await this.#kernel.mounts.unmount(info.mountPoint, { mountId, ...options });
        return "unmounted";
      } catch (error) {
        const moved =
          error instanceof NativeError &&
          (error.code === "NATIVE_NOT_FOUND" || error.code === "NATIVE_INVALID");
        if (!moved) throw error;
        if (attempt < MAX_UNMOUNT_ATTEMPTS) continue;
        throw new RequestError({
          code: "BUSY",
          operation: "unmount",
          object: info.mountPoint,
          reason: "the folders on the way to it are being moved",
          hint: "Leave them alone, and try again.",
        });
      }
    }
  }
}

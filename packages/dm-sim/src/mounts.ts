/** Mounts of the simulated machine: a list, superblocks that hold their devices open, freezing. */
import type { MountFlags, MountInfo, MountRequest, Mounts } from "@thinpool/dm-native";
import { type Gate, Refusal } from "./faults.ts";
import { empty, readOut, writeBack } from "./files.ts";
import { readSuperblock, type Superblock, trimZeroes } from "./filesystem.ts";
import type { BlockNode, Machine } from "./machine.ts";

/** The first id given out, and the root mount all others hang on. */
const ROOT_MOUNT_ID = 1;

interface Mounted {
  readonly superblock: Superblock;
  readonly node: BlockNode;
  readonly readOnly: boolean;
  /** Mounts of it, and programs that still use it after a lazy unmount. */
  uses: number;
  frozen: boolean;
}

interface Mount {
  readonly info: MountInfo;
  readonly mounted: Mounted;
}

function optionWords(flags: MountFlags): string[] {
  return [
    flags.readOnly === true ? "ro" : "rw",
    ...(flags.noSuid === true ? ["nosuid"] : []),
    ...(flags.noDev === true ? ["nodev"] : []),
    ...(flags.noExec === true ? ["noexec"] : []),
    "relatime",
    ...(flags.noSymFollow === true ? ["nosymfollow"] : []),
  ];
}

function isReadOnly(node: BlockNode, request: MountRequest): boolean {
  return node.readOnly() || request.flags.readOnly === true;
}

function liesIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

export class SimMounts implements Mounts {
  readonly #gate: Gate;
  readonly #machine: Machine;
  /** Whether targets are real folders, which have the files meanwhile. */
  readonly #withFiles: boolean;
  #mounts: Mount[] = [];
  readonly #held = new Map<string, () => void>();
  #lastId = ROOT_MOUNT_ID;

  constructor(gate: Gate, machine: Machine, withFiles: boolean) {
    this.#gate = gate;
    this.#machine = machine;
    this.#withFiles = withFiles;
  }

  mount(request: MountRequest): Promise<MountInfo> {
    return this.#gate.call("mount", request.target, request.source, () => {
      const node = this.#machine.node(request.source);
      const mounted = this.#superblockOf(node, request);
      if (this.#withFiles) {
        this.#writeBack(mounted);
        readOut(node, request.target);
      }
      mounted.uses += 1;
      this.#lastId += 1;
      const info: MountInfo = {
        mountId: this.#lastId,
        parentId: this.#around(request.target)?.info.mountId ?? ROOT_MOUNT_ID,
        dev: node.dev,
        root: "/",
        mountPoint: request.target,
        options: [
          ...optionWords(request.flags),
          ...(request.idMap === undefined ? [] : ["idmapped"]),
        ],
        optionalFields: [],
        type: request.type,
        source: request.source,
        superOptions: [
          mounted.readOnly ? "ro" : "rw",
          ...Object.entries(request.options ?? {}).map(([key, value]) =>
            value === true ? key : `${key}=${value}`,
          ),
        ],
      };
      this.#mounts.push({ info, mounted });
      return info;
    });
  }

  unmount(
    target: string,
    options: { readonly mountId?: number; readonly lazy?: boolean } = {},
  ): Promise<void> {
    return this.#gate.call("umount2", target, "", () => {
      const top = this.#topmost(target);
      if (options.mountId !== undefined && top?.info.mountId !== options.mountId) {
        throw new Refusal("ENOENT", `mount ${options.mountId} is not the topmost one there`);
      }
      if (top === undefined)
        throw new Refusal("EINVAL", "nothing is mounted there", "NATIVE_NOT_FOUND");
      const held = this.#held.get(target);
      const inside = this.#below(top);
      if (inside[0] !== undefined) {
        const { mountPoint } = inside[0].info;
        if (options.lazy !== true) throw new Refusal("EBUSY", `${mountPoint} is mounted inside`);
      }
      if (held !== undefined) {
        if (options.lazy !== true) throw new Refusal("EBUSY", "a program uses the mount");
        // The program keeps the filesystem, and so the device, until it lets go.
        top.mounted.uses += 1;
        this.#held.set(target, () => {
          held();
          this.#release(top.mounted);
        });
      }
      // Lazily it goes with all that is mounted inside, the innermost first.
      for (const mount of [...inside.toReversed(), top]) {
        this.#writeBackAtLast(mount);
        this.#mounts = this.#mounts.filter((other) => other !== mount);
        this.#release(mount.mounted);
      }
    });
  }

  list(): Promise<readonly MountInfo[]> {
    return this.#gate.call("mountinfo", "/proc/self/mountinfo", "", () =>
      this.#mounts.map((mount) => mount.info),
    );
  }

  freeze(mountPoint: string): Promise<void> {
    return this.#gate.call("FIFREEZE", mountPoint, "", () => {
      const { mounted } = this.#mountAt(mountPoint);
      if (mounted.frozen) throw new Refusal("EBUSY", "the filesystem is frozen already");
      this.#writeBack(mounted);
      mounted.node.flush();
      mounted.frozen = true;
    });
  }

  thaw(mountPoint: string): Promise<void> {
    return this.#gate.call("FITHAW", mountPoint, "", () => {
      const { mounted } = this.#mountAt(mountPoint);
      if (!mounted.frozen) throw new Refusal("EINVAL", "the filesystem is not frozen");
      mounted.frozen = false;
    });
  }

  trim(mountPoint: string, options: { readonly minimumBytes?: bigint } = {}): Promise<bigint> {
    return this.#gate.call("FITRIM", mountPoint, "", () =>
      trimZeroes(this.#mountAt(mountPoint).mounted.node, Number(options.minimumBytes ?? 0n)),
    );
  }

  /** A program has its working folder in the mount: unmounting is EBUSY until the function is called. */
  hold(target: string): () => void {
    if (this.#topmost(target) === undefined) throw new TypeError(`${target}: nothing is mounted`);
    this.#held.set(target, () => undefined);
    return () => {
      const release = this.#held.get(target);
      this.#held.delete(target);
      release?.();
    };
  }

  /** Before a dm device is suspended, what is mounted from it writes back all it has. */
  sync(node: BlockNode): void {
    const mounted = this.#mounts.find((mount) => mount.mounted.node === node)?.mounted;
    if (mounted === undefined) return;
    this.#writeBack(mounted);
    node.flush();
  }

  /** Mounted in several places, it has the files of the first one. */
  #writeBack(mounted: Mounted): void {
    const first = this.#mounts.find((mount) => mount.mounted === mounted);
    if (!this.#withFiles || first === undefined || mounted.node.readOnly()) return;
    if (!first.info.superOptions.includes("ro")) writeBack(mounted.node, first.info.mountPoint);
  }

  /** Then the folder is empty, as it was. */
  #writeBackAtLast({ info, mounted }: Mount): void {
    if (!this.#withFiles) return;
    try {
      this.#writeBack(mounted);
    } catch (error) {
      // As below: what a device can't take any more is lost.
      if (!(error instanceof Refusal)) throw error;
    }
    empty(info.mountPoint);
  }

  /** The filesystem on the device: the one that is mounted already, or a new claim on it. */
  #superblockOf(node: BlockNode, request: MountRequest): Mounted {
    const running = this.#mounts.find((mount) => mount.mounted.node === node)?.mounted;
    if (running !== undefined) {
      if (running.superblock.type !== request.type) {
        throw new Refusal("EBUSY", `it is mounted as ${running.superblock.type}`);
      }
      // fs/super.c: the read-only state is the superblock's, and not another one for each mount.
      if (running.readOnly !== isReadOnly(node, request)) {
        throw new Refusal("EBUSY", "it is mounted with another read-only state");
      }
      return running;
    }
    const superblock = readSuperblock(node, request.type);
    if (superblock === undefined) {
      throw new Refusal("EINVAL", `the device has no ${request.type} superblock`);
    }
    const twin = this.#mounts.some((mount) => mount.mounted.superblock.uuid === superblock.uuid);
    if (superblock.type === "xfs" && twin && request.options?.["nouuid"] !== true) {
      throw new Refusal("EINVAL", "an XFS of the same uuid is mounted; mount clones with nouuid");
    }
    node.open("filesystem");
    return { superblock, node, readOnly: isReadOnly(node, request), uses: 0, frozen: false };
  }

  #release(mounted: Mounted): void {
    mounted.uses -= 1;
    if (mounted.uses > 0) return;
    // The last unmount writes everything back; a device that can't take it any more loses it.
    try {
      mounted.node.flush();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
    mounted.node.close("filesystem");
  }

  #topmost(target: string): Mount | undefined {
    return this.#mounts.findLast((mount) => mount.info.mountPoint === target);
  }

  /** The mount in which the path lies, or that is at it: of several the innermost, then the topmost. */
  #around(path: string): Mount | undefined {
    const around = this.#mounts.filter(({ info }) => liesIn(path, info.mountPoint));
    const length = Math.max(0, ...around.map(({ info }) => info.mountPoint.length));
    return around.findLast(({ info }) => info.mountPoint.length === length);
  }

  /** What is mounted in it, and in that, parents first. */
  #below({ info }: Mount): readonly Mount[] {
    const inside = this.#mounts.filter((mount) => mount.info.parentId === info.mountId);
    return inside.flatMap((mount) => [mount, ...this.#below(mount)]);
  }

  #mountAt(target: string): Mount {
    const mount = this.#topmost(target);
    if (mount === undefined)
      throw new Refusal("EINVAL", "nothing is mounted there", "NATIVE_NOT_FOUND");
    return mount;
  }
}

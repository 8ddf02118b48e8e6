/**
 * A kernel in memory: device-mapper, loop and block devices, mounts, mkfs, and the metadata tools.
 *
 * The fault model: these faults may happen here, and no others.
 * - A call fails with any errno, without effect (`failNext`).
 * - The process dies right before or right after any call's effect (an `onCall` listener throws
 *   SimCrash). The kernel keeps its state; calls of the dead process have no effect any more
 *   (`processDeath` starts the next one). A call's effect is never half made.
 * - The power is cut (`powerCut`): dm devices, loops and mounts are gone; each disk is as it was at
 *   its last flush, each pool's metadata as last committed. Writes since then are all lost: that
 *   some of them survive, or are torn, is not modelled.
 * - A pool loses its write mode (`setPoolMode`), runs out of data by being written full, or of
 *   metadata by `fillMetadata`.
 * - A pool's metadata is damaged (`damageMetadata`, or its first block overwritten by `write`).
 * - A device or mount is held open by a stranger (`hold`, `holdMount`).
 *
 * Where it differs from Linux: nothing happens by itself (a pool commits on messages, flushes,
 * suspends and status, not once a second); I/O that Linux would hold back fails at once (EAGAIN on
 * a suspended device, ENOSPC on a full pool that queues), and so does a suspend or a resume of a thin
 * device whose pool is suspended; metadata use is right for an empty pool
 * and estimated for others; filesystems have a superblock, and files only where that is asked for
 * (`files`), which take no space before they are written back. Regular files of the host
 * give loops their identity and size; their bytes are in memory only.
 */
import type { BlockDevices, DeviceMapper, LoopDevices, Mounts } from "@thinpool/dm-native";
import { RawDisk, SimBlockDevices, writeSignature } from "./blocks.ts";
import { DmDevice } from "./dm/dm-device.ts";
import { SimDeviceMapper } from "./dm/sim-device-mapper.ts";
import { Gate, type SimFault, type SimListener } from "./faults.ts";
import { SimFilesystems, type SimFilesystemType } from "./filesystem.ts";
import { SimLoopDevices } from "./loops.ts";
import { Machine, Stores } from "./machine.ts";
import { SimMetadataTools } from "./metadata-tools.ts";
import { SimMounts } from "./mounts.ts";
import type { ThinMetadata } from "./thin-metadata.ts";
import type { PoolMode, ThinPool } from "./thin-pool.ts";

export interface SimKernelOptions {
  /** Calls that run at once interleave as the seed says; without one, in the order they were made. */
  readonly seed?: number;
  /** What is mounted has files: they are in the mount's target, a real, empty folder. Default: false. */
  readonly files?: boolean;
}

/** What a power cut hands to the next kernel. */
interface Remains {
  readonly stores: Stores;
  readonly rawDisks: readonly { readonly path: string; readonly sizeBytes: number }[];
}

export class SimKernel {
  readonly dm: DeviceMapper;
  readonly loops: LoopDevices;
  readonly blocks: BlockDevices;
  readonly mounts: Mounts;
  readonly filesystems: {
    make(options: {
      readonly path: string;
      readonly type: SimFilesystemType;
      readonly signal?: AbortSignal;
    }): Promise<void>;
    grow(options: {
      readonly path: string;
      readonly type: SimFilesystemType;
      readonly mountPoint: string | undefined;
    }): Promise<void>;
  };
  readonly metadataTools: SimMetadataTools;
  readonly #options: SimKernelOptions;
  readonly #gate: Gate;
  readonly #machine: Machine;
  readonly #simDm: SimDeviceMapper;
  readonly #simMounts: SimMounts;
  readonly #simLoops: SimLoopDevices;
  readonly #rawDisks: { readonly path: string; sizeBytes: number }[] = [];

  constructor(options: SimKernelOptions = {}, remains?: Remains) {
    this.#options = options;
    this.#gate = new Gate(options.seed);
    this.#machine = new Machine(remains?.stores ?? new Stores());
    this.#simMounts = new SimMounts(this.#gate, this.#machine, options.files === true);
    this.#simDm = new SimDeviceMapper(this.#gate, this.#machine, (device) =>
      this.#simMounts.sync(device),
    );
    this.dm = this.#simDm;
    this.#simLoops = new SimLoopDevices(this.#gate, this.#machine);
    this.loops = this.#simLoops;
    this.blocks = new SimBlockDevices(this.#gate, this.#machine);
    this.mounts = this.#simMounts;
    this.filesystems = new SimFilesystems(this.#gate, this.#machine);
    this.metadataTools = new SimMetadataTools(this.#gate, this.#machine);
    for (const disk of remains?.rawDisks ?? []) this.addBlockDevice(disk);
  }

  /** How many calls of each operation were begun, by the operation's name. */
  get calls(): Readonly<Record<string, number>> {
    return this.#gate.counts;
  }

  resetCalls(): void {
    this.#gate.resetCounts();
  }

  /** Called before and after each call's effect; a SimCrash thrown there ends the process. */
  onCall(listener: SimListener): () => void {
    return this.#gate.listen(listener);
  }

  failNext(fault: SimFault): void {
    this.#gate.failNext(fault);
  }

  /** The process dies now, outside any call of this kernel: until `processDeath()` all calls reject. */
  die(reason: string): void {
    this.#gate.takeDown(reason);
  }

  /** The process has died and a new one begins: its listeners, armed faults and autoclear loops go. */
  processDeath(): void {
    this.#simLoops.processDeath();
    this.#gate.revive();
  }

  /** The kernel after the reboot. Calls of this one reject with SimCrash from now on. */
  powerCut(): SimKernel {
    this.#gate.takeDown("the machine has lost its power");
    this.#machine.stores.powerCut();
    return new SimKernel(this.#options, {
      stores: this.#machine.stores,
      rawDisks: this.#rawDisks,
    });
  }

  /** A disk such as /dev/sdb; with `signature` ("ext4", "LVM2_member" …) it carries something. */
  addBlockDevice(options: {
    readonly path: string;
    readonly sizeBytes: bigint | number;
    readonly signature?: string;
  }): void {
    if (this.#machine.byPath(options.path) !== undefined) {
      throw new TypeError(`${options.path}: exists already`);
    }
    const sizeBytes = Number(options.sizeBytes);
    const node = new RawDisk({
      path: options.path,
      sizeBytes,
      index: this.#rawDisks.length,
      disk: this.#machine.stores.disk(`disk ${options.path}`),
    });
    this.#rawDisks.push({ path: options.path, sizeBytes });
    this.#machine.add(node);
    if (options.signature !== undefined) {
      writeSignature(node, options.signature);
      node.flush();
    }
  }

  /** The disk is longer from now on, also after a power cut: what is new of it reads as zeroes. */
  growBlockDevice(path: string, sizeBytes: bigint | number): void {
    const node = this.#machine.byPath(path);
    const entry = this.#rawDisks.find((disk) => disk.path === path);
    if (!(node instanceof RawDisk) || entry === undefined) {
      throw new TypeError(`${path}: is no raw disk`);
    }
    node.grow(Number(sizeBytes));
    entry.sizeBytes = Number(sizeBytes);
  }

  /** Bytes of /dev/mapper/…, /dev/loopN or a raw disk. Rejects with NativeError. */
  read(path: string, offsetBytes: bigint | number, lengthBytes: bigint | number): Promise<Buffer> {
    return this.#gate.call("read", path, "", () =>
      this.#machine.node(path).read(Number(offsetBytes), Number(lengthBytes)),
    );
  }

  /** Into the volatile cache, as a direct write without FUA: `flush` makes it durable. */
  write(path: string, offsetBytes: bigint | number, bytes: Uint8Array): Promise<void> {
    return this.#gate.call("write", path, "", () =>
      this.#machine.node(path).write(Number(offsetBytes), bytes),
    );
  }

  flush(path: string): Promise<void> {
    return this.#gate.call("fsync", path, "", () => this.#machine.node(path).flush());
  }

  /** A stranger has the device open until the returned function is called. */
  hold(path: string): () => void {
    const node = this.#machine.node(path);
    node.open();
    let held = true;
    return () => {
      if (held) node.close();
      held = false;
    };
  }

  /** A program uses the mount: EBUSY on unmount until the returned function is called. */
  holdMount(target: string): () => void {
    return this.#simMounts.hold(target);
  }

  /** Puts the pool of that dm device into a mode, as a failed operation of the kernel's own would. */
  setPoolMode(path: string, mode: PoolMode, options: { readonly needsCheck?: boolean } = {}): void {
    this.#pool(path).forceMode(mode, options.needsCheck ?? false);
  }

  /** So many metadata blocks more count as used; none left makes the pool read-only. */
  fillMetadata(path: string, blocks: number): void {
    const pool = this.#pool(path);
    pool.metadata.extraMetadataBlocks = blocks;
    if (pool.metadata.usedMetadataBlocks() >= pool.metadata.metadataBlocks) {
      pool.forceMode("out-of-metadata", false);
    }
  }

  /** As thin_check --clear-needs-check-flag does while the pool is down. */
  clearNeedsCheck(metadataPath: string): void {
    const metadata = this.#metadataOf(metadataPath);
    metadata.needsCheck = false;
    metadata.commit();
  }

  /** The tools find the metadata damaged from now on; repairing it loses the `lost` thin devices. */
  damageMetadata(metadataPath: string, options: { readonly lost?: readonly number[] } = {}): void {
    this.#metadataOf(metadataPath).damage = { lost: options.lost ?? [] };
  }

  /** The thin devices that the pool's metadata knows, and throws where its books don't balance. */
  checkMetadata(path: string): readonly number[] {
    const { metadata } = this.#pool(path);
    metadata.check();
    return metadata.ids();
  }

  /** What is left on the machine: to assert that a test or a shutdown took all of it down. */
  async leftovers(): Promise<readonly string[]> {
    const devices = this.#simDm.all().map((device) => device.paths()[0] ?? device.name);
    const loops = (await this.loops.list()).map((loop) => loop.path);
    const mounts = (await this.mounts.list()).map((mount) => mount.mountPoint);
    return [...devices, ...loops, ...mounts, ...this.#machine.madeNodes.keys()];
  }

  #metadataOf(path: string): ThinMetadata {
    const place = this.#machine.node(path).place();
    const metadata = place && this.#machine.stores.metadata(place);
    if (metadata === undefined) throw new TypeError(`${path}: holds no pool's metadata`);
    return metadata;
  }

  #pool(path: string): ThinPool {
    const node = this.#machine.node(path);
    const pool = node instanceof DmDevice ? node.livePool() : undefined;
    if (pool === undefined) throw new TypeError(`${path}: is no live thin pool`);
    return pool;
  }
}

export function createSimKernel(options: SimKernelOptions = {}): SimKernel {
  return new SimKernel(options);
}

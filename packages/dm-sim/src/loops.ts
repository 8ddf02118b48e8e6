/** Loop devices over files of the host: the file gives identity and size, the bytes are simulated. */
import { type BigIntStats, statSync } from "node:fs";
import { resolve } from "node:path";
import type { DevNumber, LoopAttachOptions, LoopDevices, LoopStatus } from "@thinpool/dm-native";
import type { Disk } from "./disk.ts";
import { type Gate, isErrnoName, Refusal } from "./faults.ts";
import { BlockNode, checkRange, type Machine, type Place } from "./machine.ts";

/** Documentation/admin-guide/devices.txt: loop devices. */
const LOOP_MAJOR = 7;
const SECTOR_BYTES = 512;

export function statBacking(path: string): BigIntStats {
  try {
    return statSync(path, { bigint: true });
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (isErrnoName(code)) throw new Refusal(code, "the backing file can't be looked at");
    throw error;
  }
}

/** The birth time tells a new file from a deleted one whose inode number it was given. */
export function identityOf(stat: BigIntStats): string {
  return `file ${stat.dev}:${stat.ino}:${stat.birthtimeNs}`;
}

class LoopNode extends BlockNode {
  readonly index: number;
  readonly options: LoopAttachOptions;
  readonly stat: BigIntStats;
  readonly #disk: Disk;
  readonly #detached: (node: LoopNode) => void;
  #sizeBytes = 0;
  autoclear: boolean;

  constructor(init: {
    readonly index: number;
    readonly options: LoopAttachOptions;
    readonly stat: BigIntStats;
    readonly disk: Disk;
    readonly detached: (node: LoopNode) => void;
  }) {
    super();
    this.index = init.index;
    this.options = init.options;
    this.stat = init.stat;
    this.#disk = init.disk;
    this.#detached = init.detached;
    this.autoclear = init.options.autoclear ?? false;
    this.refresh(init.stat);
  }

  override get dev(): DevNumber {
    return { major: LOOP_MAJOR, minor: this.index };
  }

  override paths(): readonly string[] {
    return [`/dev/loop${this.index}`];
  }

  override sizeBytes(): number {
    return this.#sizeBytes;
  }

  override readOnly(): boolean {
    return this.options.readOnly ?? false;
  }

  override logicalSectorBytes(): number {
    return this.options.blockSizeBytes ?? SECTOR_BYTES;
  }

  override place(): Place {
    return { disk: this.#disk, offsetBytes: this.#start() };
  }

  override read(offsetBytes: number, lengthBytes: number): Buffer {
    checkRange(this, offsetBytes, lengthBytes);
    return this.#disk.read(this.#start() + offsetBytes, lengthBytes);
  }

  override write(offsetBytes: number, bytes: Uint8Array): void {
    if (this.readOnly()) throw new Refusal("EPERM", "the device is read-only");
    checkRange(this, offsetBytes, bytes.length);
    this.#disk.write(this.#start() + offsetBytes, bytes);
  }

  override discard(offsetBytes: number, lengthBytes: number): void {
    if (this.readOnly()) throw new Refusal("EPERM", "the device is read-only");
    checkRange(this, offsetBytes, lengthBytes);
    this.#disk.zero(this.#start() + offsetBytes, lengthBytes);
  }

  override flush(): void {
    this.#disk.flush();
  }

  refresh(stat: BigIntStats): void {
    const limit = this.options.sizeLimitBytes ?? 0n;
    let size = stat.size - (this.options.offsetBytes ?? 0n);
    if (size < 0n) size = 0n;
    if (limit > 0n && limit < size) size = limit;
    this.#sizeBytes = Number(size - (size % BigInt(SECTOR_BYTES)));
  }

  status(): LoopStatus {
    return {
      index: this.index,
      path: `/dev/loop${this.index}`,
      dev: this.dev,
      backingDevice: this.stat.dev,
      backingInode: this.stat.ino,
      backingFile: resolve(this.options.backingFile),
      offsetBytes: this.options.offsetBytes ?? 0n,
      sizeLimitBytes: this.options.sizeLimitBytes ?? 0n,
      readOnly: this.readOnly(),
      autoclear: this.autoclear,
      directIo: this.options.directIo ?? false,
    };
  }

  protected override lastClose(): void {
    if (this.autoclear) this.#detached(this);
  }

  #start(): number {
    return Number(this.options.offsetBytes ?? 0n);
  }
}

export class SimLoopDevices implements LoopDevices {
  readonly #gate: Gate;
  readonly #machine: Machine;
  readonly #nodes = new Map<number, LoopNode>();

  constructor(gate: Gate, machine: Machine) {
    this.#gate = gate;
    this.#machine = machine;
  }

  attach(options: LoopAttachOptions): Promise<LoopStatus> {
    return this.#gate.call("LOOP_CONFIGURE", options.backingFile, "", () => {
      const stat = statBacking(options.backingFile);
      if (stat.isDirectory()) throw new Refusal("EISDIR", "it is a folder");
      if (!stat.isFile() && !stat.isBlockDevice()) {
        throw new Refusal("EINVAL", "it is no regular file or block device");
      }
      const block = options.blockSizeBytes ?? SECTOR_BYTES;
      if (block < SECTOR_BYTES || block > 4096 || (block & (block - 1)) !== 0) {
        throw new Refusal("EINVAL", `${block} bytes is no block size of a loop device`);
      }
      let index = 0;
      while (this.#nodes.has(index)) index += 1;
      const node = new LoopNode({
        index,
        options,
        stat,
        disk: this.#machine.stores.disk(identityOf(stat)),
        detached: (gone) => this.#forget(gone),
      });
      this.#nodes.set(index, node);
      this.#machine.add(node);
      return node.status();
    });
  }

  detach(path: string): Promise<"detached" | "deferred"> {
    return this.#gate.call("LOOP_CLR_FD", path, "", () => {
      const node = this.#node(path);
      if (node.openCount > 0) {
        node.autoclear = true;
        return "deferred";
      }
      this.#forget(node);
      return "detached";
    });
  }

  status(path: string): Promise<LoopStatus> {
    return this.#gate.call("LOOP_GET_STATUS64", path, "", () => this.#node(path).status());
  }

  list(): Promise<readonly LoopStatus[]> {
    return this.#gate.call("LOOP_LIST", "/sys/block", "", () =>
      this.#all().map((node) => node.status()),
    );
  }

  findByBackingFile(path: string): Promise<readonly LoopStatus[]> {
    return this.#gate.call("LOOP_LIST", path, "", () => {
      const stat = statBacking(path);
      // A loop keeps its file's inode: another file that has the number was made after that one went.
      return this.#all()
        .filter((node) => identityOf(node.stat) === identityOf(stat))
        .map((node) => node.status());
    });
  }

  refreshCapacity(path: string): Promise<void> {
    return this.#gate.call("LOOP_SET_CAPACITY", path, "", () => {
      const node = this.#node(path);
      const stat = statSync(node.options.backingFile, { bigint: true, throwIfNoEntry: false });
      // Removed or replaced meanwhile: the loop has the old one still, whose size nobody here can change.
      if (stat !== undefined && identityOf(stat) === identityOf(node.stat)) node.refresh(stat);
    });
  }

  /** What kept its autoclear loops has died: those that nobody else has open are gone. */
  processDeath(): void {
    for (const node of [...this.#nodes.values()]) {
      if (node.autoclear && node.openCount === 0) this.#forget(node);
    }
  }

  #all(): readonly LoopNode[] {
    return [...this.#nodes.values()].toSorted((a, b) => a.index - b.index);
  }

  #forget(node: LoopNode): void {
    this.#nodes.delete(node.index);
    this.#machine.delete(node);
  }

  /** The kernel keeps an unbound /dev/loopN and answers ENXIO for it. */
  #node(path: string): LoopNode {
    if (!/^\/dev\/loop\d+$/.test(path)) throw new Refusal("EINVAL", "it is no loop device's path");
    const node = [...this.#nodes.values()].find((candidate) => candidate.paths().includes(path));
    if (node === undefined) throw new Refusal("ENXIO", "no file is bound to it");
    return node;
  }
}

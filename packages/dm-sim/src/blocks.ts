/** Block devices of the simulated machine: sizes, discards, signatures; and raw disks for tests. */
import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";
import {
  type BlockDevices,
  type BlockSignature,
  type ByteRange,
  type DevNumber,
  findSignature,
  MAX_READ_BYTES,
  type NodeRequest,
} from "@thinpool/dm-native";
import type { Disk } from "./disk.ts";
import { type Gate, Refusal } from "./faults.ts";
import { identityOf, statBacking } from "./loops.ts";
import { type BlockIo, BlockNode, checkRange, type Machine, type Place } from "./machine.ts";

/** As much of both ends as the real bindings read. */
const HEAD_BYTES = 256 << 10;
const TAIL_BYTES = 128 << 10;
/** Documentation/admin-guide/devices.txt: SCSI disks, 16 minors each. */
const SCSI_MAJOR = 8;
const MINORS_PER_DISK = 16;

/** Bytes that make a device carry something, each at its offset. */
const CONTENTS: Readonly<Record<string, readonly (readonly [number, Buffer])[]>> = {
  ext4: ext4Superblock(),
  xfs: [[0, Buffer.from("XFSB")]],
  "thin-pool metadata": [[32, littleEndian64(27_022_010n)]],
  LVM2_member: [
    [512, Buffer.from("LABELONE")],
    [536, Buffer.from("LVM2 001")],
  ],
  gpt: [[512, Buffer.from("EFI PART")]],
  swap: [[4086, Buffer.from("SWAPSPACE2")]],
  crypto_LUKS: [[0, Buffer.from("LUKS\xba\xbe", "latin1")]],
};

/** fs/ext4/ext4.h: has_journal; filetype and extents, by which it is no older ext. */
function ext4Superblock(): readonly (readonly [number, Buffer])[] {
  return [
    [0x438, Buffer.from([0x53, 0xef])],
    [0x45c, Buffer.from([0x04, 0, 0, 0, 0x42, 0, 0, 0])],
  ];
}

function littleEndian64(value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(value);
  return out;
}

export function signatureOf(
  device: Pick<BlockIo, "read" | "sizeBytes">,
): BlockSignature | undefined {
  const sizeBytes = device.sizeBytes();
  const tailBytes = Math.min(TAIL_BYTES, sizeBytes);
  return findSignature({
    sizeBytes,
    head: device.read(0, Math.min(HEAD_BYTES, sizeBytes)),
    tail: device.read(sizeBytes - tailBytes, tailBytes),
  });
}

/** Makes a device carry something: a test's disk, or what mkfs writes. */
export function writeSignature(device: BlockIo, type: string): void {
  const content = CONTENTS[type];
  if (content === undefined) throw new TypeError(`${type}: no such signature is known`);
  for (const [offsetBytes, bytes] of content) device.write(offsetBytes, bytes);
}

/** A path that is there, but is no block device, is invalid; one that is not there is not found. */
function refuseOtherFiles(machine: Machine, path: string): void {
  if (machine.byPath(path) !== undefined) return;
  if (existsSync(path)) throw new Refusal("EINVAL", "it is no block device");
}

export class RawDisk extends BlockNode {
  override readonly dev: DevNumber;
  readonly #path: string;
  #sizeBytes: number;
  readonly #disk: Disk;

  constructor(options: {
    readonly path: string;
    readonly sizeBytes: number;
    readonly index: number;
    readonly disk: Disk;
  }) {
    super();
    this.dev = { major: SCSI_MAJOR, minor: options.index * MINORS_PER_DISK };
    this.#path = options.path;
    this.#sizeBytes = options.sizeBytes;
    this.#disk = options.disk;
  }

  override paths(): readonly string[] {
    return [this.#path];
  }

  override sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** An admin has made it longer. */
  grow(sizeBytes: number): void {
    if (sizeBytes < this.#sizeBytes) throw new TypeError(`${this.#path}: disks only grow`);
    this.#sizeBytes = sizeBytes;
  }

  override readOnly(): boolean {
    return false;
  }

  override place(): Place {
    return { disk: this.#disk, offsetBytes: 0 };
  }

  override read(offsetBytes: number, lengthBytes: number): Buffer {
    checkRange(this, offsetBytes, lengthBytes);
    return this.#disk.read(offsetBytes, lengthBytes);
  }

  override write(offsetBytes: number, bytes: Uint8Array): void {
    checkRange(this, offsetBytes, bytes.length);
    this.#disk.write(offsetBytes, bytes);
  }

  override discard(offsetBytes: number, lengthBytes: number): void {
    checkRange(this, offsetBytes, lengthBytes);
    this.#disk.zero(offsetBytes, lengthBytes);
  }

  override flush(): void {
    this.#disk.flush();
  }
}

export class SimBlockDevices implements BlockDevices {
  readonly #gate: Gate;
  readonly #machine: Machine;

  constructor(gate: Gate, machine: Machine) {
    this.#gate = gate;
    this.#machine = machine;
  }

  number(path: string): Promise<DevNumber> {
    return this.#gate.call("fstat", path, "", () => this.#node(path).dev);
  }

  sizeBytes(path: string): Promise<bigint> {
    return this.#gate.call("BLKGETSIZE64", path, "", () => BigInt(this.#node(path).sizeBytes()));
  }

  logicalSectorBytes(path: string): Promise<number> {
    return this.#gate.call("BLKSSZGET", path, "", () => this.#node(path).logicalSectorBytes());
  }

  discard(path: string, range: ByteRange): Promise<void> {
    return this.#gate.call("BLKDISCARD", path, describe(range), () => {
      const node = this.#aligned(path, range);
      node.discard(Number(range.offsetBytes), Number(range.lengthBytes));
    });
  }

  zeroOut(path: string, range: ByteRange): Promise<void> {
    return this.#gate.call("BLKZEROOUT", path, describe(range), () => {
      const node = this.#aligned(path, range);
      zeroOut(node, Number(range.offsetBytes), Number(range.lengthBytes));
    });
  }

  flush(path: string): Promise<void> {
    return this.#gate.call("fsync", path, "", () => this.#node(path).flush());
  }

  read(path: string, range: ByteRange): Promise<Buffer> {
    return this.#gate.call("read", path, describe(range), () => {
      const node = this.#node(path);
      const { offsetBytes, lengthBytes } = range;
      const end = offsetBytes + lengthBytes;
      const inside = offsetBytes >= 0n && lengthBytes > 0n && end <= BigInt(node.sizeBytes());
      if (!inside || lengthBytes > MAX_READ_BYTES) {
        throw new Refusal("EINVAL", "the range is not inside the device, or too long");
      }
      return node.read(Number(offsetBytes), Number(lengthBytes));
    });
  }

  signature(path: string): Promise<BlockSignature | undefined> {
    return this.#gate.call("signature", path, "", () => {
      const node = this.#machine.byPath(path);
      if (node !== undefined) return signatureOf(node);
      // A regular file has the bytes that a loop device over it would have.
      const stat = statBacking(path);
      if (!stat.isFile()) throw new Refusal("EINVAL", "it is no block device");
      const disk = this.#machine.stores.disk(identityOf(stat));
      return signatureOf({
        sizeBytes: () => Number(stat.size),
        read: (offsetBytes, lengthBytes) => disk.read(offsetBytes, lengthBytes),
      });
    });
  }

  inUse(path: string): Promise<boolean> {
    return this.#gate.call("O_EXCL", path, "", () => this.#node(path).claim !== undefined);
  }

  /** To whom it belongs decides nothing here: nobody asks for leave to open. */
  makeNode(path: string, { dev }: NodeRequest): Promise<void> {
    return this.#gate.call("mknod", path, "", () => {
      const isThere = this.#machine.byPath(path) !== undefined || existsSync(path);
      if (isThere || this.#machine.madeNodes.has(path)) {
        throw new Refusal("EEXIST", "something is there already");
      }
      this.#machine.madeNodes.set(path, dev);
    });
  }

  removeNode(path: string): Promise<boolean> {
    return this.#gate.call("unlink", path, "", () => this.#machine.madeNodes.delete(path));
  }

  nodesIn(folder: string): Promise<readonly string[]> {
    return this.#gate.call("readdir", folder, "", () => {
      const all = [...this.#machine.madeNodes.keys()];
      const nodes = all.filter((path) => dirname(path) === folder);
      return nodes.map((path) => basename(path)).toSorted();
    });
  }

  #node(path: string): BlockNode {
    refuseOtherFiles(this.#machine, path);
    return this.#machine.node(path);
  }

  /** EINVAL for a range that is not of whole sectors, or that ends past the device. */
  #aligned(path: string, range: ByteRange): BlockNode {
    const node = this.#node(path);
    const sector = BigInt(node.logicalSectorBytes());
    const end = range.offsetBytes + range.lengthBytes;
    if (
      range.offsetBytes % sector !== 0n ||
      range.lengthBytes % sector !== 0n ||
      range.offsetBytes < 0n ||
      range.lengthBytes <= 0n ||
      end > BigInt(node.sizeBytes())
    ) {
      throw new Refusal("EINVAL", "the range is not of whole sectors within the device");
    }
    return node;
  }
}

/** Zeroes are written so far at a time. */
const ZERO_CHUNK_BYTES = 1 << 20;

function zeroOut(node: BlockNode, offsetBytes: number, lengthBytes: number): void {
  if (node.place() !== undefined) {
    node.discard(offsetBytes, lengthBytes);
    return;
  }
  for (let done = 0; done < lengthBytes; done += ZERO_CHUNK_BYTES) {
    const length = Math.min(ZERO_CHUNK_BYTES, lengthBytes - done);
    node.write(offsetBytes + done, Buffer.alloc(length));
  }
}

function describe(range: ByteRange): string {
  return `${range.offsetBytes}+${range.lengthBytes}`;
}

/** Block devices of the simulated machine: sizes, discards, signatures; and raw disks for tests. */
import type { BlockDevices, BlockSignature, ByteRange, DevNumber } from "@thinpool/dm-native";
import type { Disk } from "./disk.ts";
import { type Gate, Refusal } from "./faults.ts";
import { type BlockIo, BlockNode, checkRange, type Machine } from "./machine.ts";

/** Documentation/admin-guide/devices.txt: SCSI disks, 16 minors each. */
const SCSI_MAJOR = 8;
const MINORS_PER_DISK = 16;

interface Magic {
  readonly type: string;
  readonly offsetBytes: number;
  readonly bytes: Buffer;
}

/** Where each kind of content has its magic number (util-linux's libblkid knows the same). */
const MAGICS: readonly Magic[] = [
  { type: "ext4", offsetBytes: 0x438, bytes: Buffer.from([0x53, 0xef]) },
  { type: "xfs", offsetBytes: 0, bytes: Buffer.from("XFSB") },
  { type: "thin-pool metadata", offsetBytes: 32, bytes: littleEndian64(27_022_010n) },
  { type: "LVM2_member", offsetBytes: 536, bytes: Buffer.from("LVM2 001") },
  { type: "gpt", offsetBytes: 512, bytes: Buffer.from("EFI PART") },
  { type: "swap", offsetBytes: 4086, bytes: Buffer.from("SWAPSPACE2") },
  { type: "crypto_LUKS", offsetBytes: 0, bytes: Buffer.from("LUKS\xba\xbe", "latin1") },
];

function littleEndian64(value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(value);
  return out;
}

export function signatureOf(device: BlockIo): BlockSignature | undefined {
  const found = MAGICS.find(({ offsetBytes, bytes }) => {
    if (offsetBytes + bytes.length > device.sizeBytes()) return false;
    return device.read(offsetBytes, bytes.length).equals(bytes);
  });
  return found && { type: found.type, offsetBytes: BigInt(found.offsetBytes) };
}

/** Writes the magic number of `type`, as a test's "this disk carries something". */
export function writeSignature(device: BlockIo, type: string): void {
  const magic = MAGICS.find((candidate) => candidate.type === type);
  if (magic === undefined) throw new TypeError(`${type}: no such signature is known`);
  device.write(magic.offsetBytes, magic.bytes);
}

export class RawDisk extends BlockNode {
  override readonly dev: DevNumber;
  readonly #path: string;
  readonly #sizeBytes: number;
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

  override readOnly(): boolean {
    return false;
  }

  override disk(): Disk {
    return this.#disk;
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
    return this.#gate.call("fstat", path, "", () => this.#machine.node(path).dev);
  }

  sizeBytes(path: string): Promise<bigint> {
    return this.#gate.call("BLKGETSIZE64", path, "", () =>
      BigInt(this.#machine.node(path).sizeBytes()),
    );
  }

  logicalSectorBytes(path: string): Promise<number> {
    return this.#gate.call("BLKSSZGET", path, "", () =>
      this.#machine.node(path).logicalSectorBytes(),
    );
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

  signature(path: string): Promise<BlockSignature | undefined> {
    return this.#gate.call("signature", path, "", () => signatureOf(this.#machine.node(path)));
  }

  inUse(path: string): Promise<boolean> {
    return this.#gate.call("O_EXCL", path, "", () => this.#machine.node(path).claim !== undefined);
  }

  /** EINVAL for a range that is not of whole sectors, or that ends past the device. */
  #aligned(path: string, range: ByteRange): BlockNode {
    const node = this.#machine.node(path);
    const sector = BigInt(node.logicalSectorBytes());
    const end = range.offsetBytes + range.lengthBytes;
    if (
      range.offsetBytes % sector !== 0n ||
      range.lengthBytes % sector !== 0n ||
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
  if (node.disk() !== undefined) {
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

/**
 * Filesystems as the simulation has them: a superblock of real bytes, so that a clone inherits it by
 * content. Their files, where there are any: files.ts.
 */
import { createHash } from "node:crypto";
import { writeSignature } from "./blocks.ts";
import { type Gate, Refusal } from "./faults.ts";
import { type BlockIo, type BlockNode, checkRange, type Machine } from "./machine.ts";

export type SimFilesystemType = "ext4" | "xfs";

interface Layout {
  /** Where the magic number and the uuid stand. */
  readonly magicOffsetBytes: number;
  readonly magic: Buffer;
  readonly uuidOffsetBytes: number;
  /** Below this mkfs refuses. */
  readonly minimumBytes: number;
}

/** Documentation/filesystems/ext4/super.rst; xfs_format.h (struct xfs_dsb). */
const LAYOUTS: Readonly<Record<SimFilesystemType, Layout>> = {
  ext4: {
    magicOffsetBytes: 0x438,
    magic: Buffer.from([0x53, 0xef]),
    uuidOffsetBytes: 0x468,
    minimumBytes: 64 << 10,
  },
  xfs: {
    magicOffsetBytes: 0,
    magic: Buffer.from("XFSB"),
    uuidOffsetBytes: 32,
    minimumBytes: 300 << 20,
  },
};
const UUID_BYTES = 16;

export interface Superblock {
  readonly type: SimFilesystemType;
  readonly uuid: string;
}

function isFilesystemType(type: string): type is SimFilesystemType {
  return type === "ext4" || type === "xfs";
}

/** The superblock of that type, if the device has one. */
export function readSuperblock(device: BlockIo, type: string): Superblock | undefined {
  if (!isFilesystemType(type)) {
    throw new Refusal("ENODEV", `the kernel has no filesystem ${type}`, "NATIVE_UNSUPPORTED");
  }
  const layout = LAYOUTS[type];
  if (device.sizeBytes() < layout.minimumBytes) return undefined;
  const magic = device.read(layout.magicOffsetBytes, layout.magic.length);
  if (!magic.equals(layout.magic)) return undefined;
  return { type, uuid: device.read(layout.uuidOffsetBytes, UUID_BYTES).toString("hex") };
}

export class SimFilesystems {
  readonly #gate: Gate;
  readonly #machine: Machine;
  #made = 0;

  constructor(gate: Gate, machine: Machine) {
    this.#gate = gate;
    this.#machine = machine;
  }

  /** EINVAL where the device has no such filesystem, or an xfs is not mounted. */
  async grow(options: {
    readonly path: string;
    readonly type: SimFilesystemType;
    readonly mountPoint: string | undefined;
  }): Promise<void> {
    await this.#gate.call("resizefs", options.path, options.type, () => {
      const node = this.#machine.node(options.path);
      if (readSuperblock(node, options.type) === undefined) {
        throw new Refusal("EINVAL", `the device carries no ${options.type}`);
      }
      if (options.type === "xfs" && options.mountPoint === undefined) {
        throw new Refusal("EINVAL", "an xfs grows while it is mounted only");
      }
    });
  }

  /** Formats, flushes. EBUSY while the device is mounted, EINVAL where it is too small. */
  async make(options: {
    readonly path: string;
    readonly type: SimFilesystemType;
    readonly signal?: AbortSignal;
  }): Promise<void> {
    options.signal?.throwIfAborted();
    await this.#gate.call("mkfs", options.path, options.type, () => {
      const node = this.#machine.node(options.path);
      if (node.claim !== undefined) throw new Refusal("EBUSY", `the ${node.claim} has it open`);
      const layout = LAYOUTS[options.type];
      if (node.sizeBytes() < layout.minimumBytes) {
        throw new Refusal("EINVAL", `the device is too small for ${options.type}`);
      }
      checkRange(node, 0, layout.minimumBytes);
      for (const other of Object.values(LAYOUTS)) {
        node.write(other.magicOffsetBytes, Buffer.alloc(other.magic.length));
      }
      this.#made += 1;
      const uuid = createHash("sha256").update(`${options.path} ${this.#made}`).digest();
      node.write(layout.uuidOffsetBytes, uuid.subarray(0, UUID_BYTES));
      writeSignature(node, options.type);
      node.flush();
    });
  }
}

/** Free space is taken in pieces of this size. */
const TRIM_STEP_BYTES = 64 << 10;
/** Beyond this a trim looks no further: no test has a device with data so far out. */
const TRIM_LIMIT_BYTES = 1 << 30;

/** Discards what holds only zeroes: a simulated filesystem uses a block once it has bytes in it. */
export function trimZeroes(node: BlockNode, minimumBytes: number): bigint {
  const end = Math.min(node.sizeBytes(), TRIM_LIMIT_BYTES);
  const step = Math.max(TRIM_STEP_BYTES, minimumBytes);
  const zeroes = Buffer.alloc(step);
  let trimmed = 0;
  for (let offset = 0; offset + step <= end; offset += step) {
    if (!node.read(offset, step).equals(zeroes)) continue;
    node.discard(offset, step);
    trimmed += step;
  }
  return BigInt(trimmed);
}

/** The targets that the simulation knows: linear, zero, error, thin-pool, thin. */
import { formatDevNumber } from "@thinpool/dm-native";
import { Refusal } from "../faults.ts";
import type { BlockNode } from "../machine.ts";
import { parseThinId, type PoolFeatures, type PoolSettings, ThinPool } from "../thin-pool.ts";
import { DmDevice } from "./dm-device.ts";
import type { TargetContext } from "./table.ts";

const SECTOR_BYTES = 512;
/** dm-thin.c: DATA_DEV_BLOCK_SIZE_MIN_SECTORS (64 KiB), also the step, and ..._MAX_SECTORS (1 GiB). */
const MIN_BLOCK_SECTORS = 128;
const MAX_BLOCK_SECTORS = 2_097_152;

export interface Target {
  readonly type: string;
  /** It must be a table's only target. */
  readonly singleton: boolean;
  /** A device that has once had this target live can't change to another type. */
  readonly immutable: boolean;
  /** Where it begins on what it stands on, of a linear target. */
  readonly linearBytes?: number;
  /** The pool, of a thin-pool target. */
  readonly pool?: ThinPool;
  /** The pool of a thin target, which suspends it with itself. */
  readonly thinOf?: ThinPool;
  params(): string;
  status(options: { readonly noFlush: boolean }): string;
  message?(text: string): void;
  /** Whether what it stands on is large enough for it now. */
  fits?(): boolean;
  preresume?(): void;
  resume?(): void;
  suspend?(): void;
  read(offsetBytes: number, lengthBytes: number): Buffer;
  write(offsetBytes: number, bytes: Uint8Array): void;
  discard(offsetBytes: number, lengthBytes: number): void;
  flush(): void;
}

/** All the versions are those of Linux 6.1. */
export const TARGET_VERSIONS: Readonly<Record<string, readonly [number, number, number]>> = {
  zero: [1, 1, 0],
  "thin-pool": [1, 22, 0],
  thin: [1, 22, 0],
  linear: [1, 4, 0],
  error: [1, 5, 0],
};

export function makeTarget(type: string, params: string, context: TargetContext): Target {
  const args = params.split(/\s+/).filter((word) => word.length > 0);
  switch (type) {
    case "linear":
      return linear(args, context);
    case "zero":
      return zero(args);
    case "error":
      return errorTarget();
    case "thin-pool":
      return thinPool(args, context);
    case "thin":
      return thin(args, context);
    default:
      throw new Refusal("EINVAL", `${type}: unknown target type`);
  }
}

function invalid(reason: string): never {
  throw new Refusal("EINVAL", reason);
}

function parseNumber(text: string | undefined, what: string): number {
  if (text === undefined || !/^\d+$/.test(text)) return invalid(`invalid ${what}`);
  return Number(text);
}

const PLAIN = { singleton: false, immutable: false } as const;

function linear(args: readonly string[], context: TargetContext): Target {
  if (args.length !== 2) return invalid("linear: invalid argument count");
  const start = parseNumber(args[1], "device sector");
  const node = context.open(args[0] ?? "");
  const base = start * SECTOR_BYTES;
  if (base + context.lengthSectors * SECTOR_BYTES > node.sizeBytes()) {
    return invalid("linear: the device is too small for the target");
  }
  return {
    ...PLAIN,
    type: "linear",
    linearBytes: base,
    params: () => `${formatDevNumber(node.dev)} ${start}`,
    status: () => "",
    read: (offset, length) => node.read(base + offset, length),
    write: (offset, bytes) => node.write(base + offset, bytes),
    discard: (offset, length) => node.discard(base + offset, length),
    flush: () => node.flush(),
  };
}

function zero(args: readonly string[]): Target {
  if (args.length !== 0) return invalid("zero: no arguments required");
  return {
    ...PLAIN,
    type: "zero",
    params: () => "",
    status: () => "",
    read: (_offset, length) => Buffer.alloc(length),
    write: () => undefined,
    discard: () => undefined,
    flush: () => undefined,
  };
}

function failIo(): never {
  throw new Refusal("EIO", "the error target fails all I/O");
}

function errorTarget(): Target {
  return {
    ...PLAIN,
    type: "error",
    params: () => "",
    status: () => "",
    read: failIo,
    write: failIo,
    discard: failIo,
    flush: failIo,
  };
}

const FEATURE_NAMES: readonly (readonly [string, keyof PoolFeatures])[] = [
  ["skip_block_zeroing", "skipBlockZeroing"],
  ["ignore_discard", "ignoreDiscard"],
  ["no_discard_passdown", "noDiscardPassdown"],
  ["read_only", "readOnly"],
  ["error_if_no_space", "errorIfNoSpace"],
];
/** dm-thin.c, `parse_pool_features`: one fewer than there are. */
const MAX_FEATURES = 4;
const MAX_U64: bigint = (1n << 64n) - 1n;
const NO_FEATURES: PoolFeatures = {
  skipBlockZeroing: false,
  ignoreDiscard: false,
  noDiscardPassdown: false,
  readOnly: false,
  errorIfNoSpace: false,
};

function parseFeatures(args: readonly string[]): PoolFeatures {
  if (args.length === 0) return NO_FEATURES;
  const count = parseNumber(args[0], "number of pool feature arguments");
  if (count > MAX_FEATURES || args.length - 1 < count) {
    return invalid("invalid number of pool feature arguments");
  }
  const wanted = new Set(args.slice(1, 1 + count).map((word) => word.toLowerCase()));
  const known = FEATURE_NAMES.filter(([name]) => wanted.has(name));
  if (known.length !== wanted.size) return invalid("unrecognised pool feature requested");
  return { ...NO_FEATURES, ...Object.fromEntries(known.map(([, key]) => [key, true])) };
}

function thinPool(args: readonly string[], context: TargetContext): Target {
  if (args.length < 4) return invalid("thin-pool: invalid argument count");
  if (context.readOnly) return invalid("thin-pool: the table can't be read-only");
  const features = parseFeatures(args.slice(4));
  const metadataNode = context.open(args[0] ?? "");
  const dataNode = context.open(args[1] ?? "");
  const blockSectors = parseNumber(args[2], "block size");
  if (
    blockSectors < MIN_BLOCK_SECTORS ||
    blockSectors > MAX_BLOCK_SECTORS ||
    blockSectors % MIN_BLOCK_SECTORS !== 0
  ) {
    return invalid("thin-pool: invalid block size");
  }
  parseNumber(args[3], "low water mark");
  const lowWaterBlocks = BigInt(args[3] ?? "");
  if (lowWaterBlocks > MAX_U64) return invalid("invalid low water mark");
  const fits = (): boolean => context.lengthSectors * SECTOR_BYTES <= dataNode.sizeBytes();
  // dm.c: the areas are looked at when a device gets its first table, later ones as they are swapped in.
  if (context.owner.live === undefined && !fits()) {
    return invalid("thin-pool: the data device is too small for the target");
  }
  const settings: PoolSettings = {
    lengthSectors: context.lengthSectors,
    lowWaterBlocks,
    features,
  };
  const pool = findPool(context, { metadataNode, dataNode, blockSectors, settings });
  if (pool.tables > 0 && pool.features.ignoreDiscard !== features.ignoreDiscard) {
    return invalid("thin-pool: discard support can't be switched by a reload");
  }
  pool.tables += 1;
  context.onRelease(() => {
    pool.tables -= 1;
    if (pool.tables === 0) {
      pool.shutDown();
      context.owner.pool = undefined;
    }
  });
  context.owner.pool = pool;
  pool.onEvent = () => context.owner.raiseEvent();
  return {
    type: "thin-pool",
    singleton: true,
    immutable: true,
    pool,
    fits,
    params: () => {
      const names = FEATURE_NAMES.filter(([, key]) => features[key]).map(([name]) => `${name} `);
      const devices = `${formatDevNumber(metadataNode.dev)} ${formatDevNumber(dataNode.dev)}`;
      return `${devices} ${blockSectors} ${lowWaterBlocks} ${names.length} ${names.join("")}`;
    },
    status: (options) => pool.status(options),
    message: (text) => pool.message(text),
    preresume: () => pool.preresume(settings),
    resume: () => pool.resume(),
    suspend: () => pool.suspend(),
    read: (offset, length) => dataNode.read(offset, length),
    write: (offset, bytes) => dataNode.write(offset, bytes),
    discard: (offset, length) => dataNode.discard(offset, length),
    flush: () => dataNode.flush(),
  };
}

/** The pool that runs on these devices, or a new one; pools are found as in `__pool_find`. */
function findPool(
  context: TargetContext,
  wanted: {
    readonly metadataNode: BlockNode;
    readonly dataNode: BlockNode;
    readonly blockSectors: number;
    readonly settings: PoolSettings;
  },
): ThinPool {
  const { owner } = context;
  for (const device of owner.siblings()) {
    if (device.pool?.metadataNode !== wanted.metadataNode) continue;
    if (device !== owner) throw new Refusal("EBUSY", "the metadata device is in use by a pool");
    if (device.pool.dataNode !== wanted.dataNode) {
      throw new Refusal("EBUSY", "the data device is in use by a pool");
    }
    return device.pool;
  }
  if (owner.pool !== undefined) return invalid("a different pool can't replace a pool");
  return new ThinPool({ machine: owner.machine, ...wanted });
}

function thin(args: readonly string[], context: TargetContext): Target {
  if (args.length !== 2 && args.length !== 3) return invalid("thin: invalid argument count");
  const [poolArgument = "", , originArgument] = args;
  if (originArgument !== undefined && originArgument === poolArgument) {
    return invalid("thin: a pool can't be its device's external origin");
  }
  const origin = originArgument === undefined ? undefined : context.open(originArgument);
  const poolNode = context.open(args[0] ?? "");
  const id = parseThinId(args[1]);
  const pool = poolNode instanceof DmDevice ? poolNode.livePool() : undefined;
  if (pool === undefined) return invalid("thin: the device is no thin pool");
  if (pool.suspended) return invalid("thin: the pool is suspended");
  pool.openThin(id);
  context.onRelease(() => pool.closeThin(id));
  return {
    ...PLAIN,
    type: "thin",
    thinOf: pool,
    params: () => {
      const params = `${formatDevNumber(poolNode.dev)} ${id}`;
      return origin === undefined ? params : `${params} ${formatDevNumber(origin.dev)}`;
    },
    status: () => pool.thinStatus(id),
    read: (offset, length) => pool.readThin(id, offset, length, origin),
    write: (offset, bytes) => pool.writeThin(id, offset, bytes, origin),
    discard: (offset, length) => pool.discardThin(id, offset, length),
    flush: () => pool.flushThin(id),
  };
}

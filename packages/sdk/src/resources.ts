/** What calls give back: devices as values, clones and mounts as things to be released. */
import type { MethodResult } from "@thinpool/protocol";
import { hasCode } from "./errors.ts";
import type { ActivateOptions, MountOptions } from "./mount-options.ts";
import type { ChangeOptions } from "./requests.ts";

export type Filesystem = "ext4" | "xfs" | "none";
export type PoolState = "working" | "read-only" | "out-of-data" | "needs-check" | "failed";

export interface Device {
  readonly name: string;
  readonly uuid: string;
  readonly thinId: number;
  readonly sizeBytes: bigint;
  readonly filesystem: Filesystem;
  /** Undefined for a device that was made empty. */
  readonly originUuid: string | undefined;
  readonly createdAtMs: number;
  readonly transactionId: bigint;
  readonly ownerUid: number;
  readonly active: boolean;
  readonly readOnly?: boolean | undefined;
  /** What users wrote on it, by key. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Growing it has not ended: its filesystem does not fill it. */
  readonly filesystemSmaller?: boolean | undefined;
  /** An image of root's that others may clone. */
  readonly public?: boolean | undefined;
  /** It goes with its last reference. */
  readonly ephemeral?: boolean | undefined;
  /** Nobody holds its mount any more, but a process still works in it. */
  readonly releasing?: boolean | undefined;
}

/** How one of the pool's two spaces grows by itself, once it is low. */
export interface SpaceGrowth {
  readonly enabled: boolean;
  /** By so much at a time; by less where no more is left. */
  readonly stepBytes: bigint;
  /** It grows no further by itself; undefined: as far as the host's filesystem or the device goes. */
  readonly ceilingBytes: bigint | undefined;
}

export interface PoolStatus {
  readonly uuid: string;
  readonly state: PoolState;
  readonly transactionId: bigint;
  readonly blockSizeBytes: bigint;
  readonly dataUsedBytes: bigint;
  readonly dataTotalBytes: bigint;
  readonly metadataUsedBytes: bigint;
  readonly metadataTotalBytes: bigint;
  readonly lowWaterBytes: bigint;
  readonly deviceCount: number;
  readonly activeCount: number;
  /** "loop" is fit for trying out, not for production. */
  readonly backing: "loop" | "block";
  /** The policy; where a `Forecast` says `monitored: false`, nothing grows all the same. */
  readonly growth: { readonly data: SpaceGrowth; readonly metadata: SpaceGrowth };
}

export interface SpaceForecast {
  /** Undefined where its use is not growing, or too little is known: the daemon was just started. */
  readonly growthBytesPerSecond: number | undefined;
  /** At its present size; 0 where it is full, else undefined as above. */
  readonly secondsToFull: number | undefined;
  /** The same with all the growth that is allowed and possible. */
  readonly secondsToExhausted: number | undefined;
  /** How large it may become by itself. */
  readonly growthLimitBytes: bigint;
}

export interface Forecast {
  /** False where nothing watches the pool's space: nothing is known, and nothing grows by itself. */
  readonly monitored: boolean;
  /** Undefined where the pool does not work. */
  readonly data: SpaceForecast | undefined;
  readonly metadata: SpaceForecast | undefined;
}

export interface Usage {
  /** When it was measured, milliseconds since 1970; writes after that are not in it. */
  readonly atMs: number;
  readonly devices: readonly {
    readonly name: string;
    readonly uuid: string;
    readonly mappedBytes: bigint;
    /** Mapped by this device only: what removing it would free. */
    readonly exclusiveBytes: bigint;
    readonly sharedBytes: bigint;
  }[];
}

export interface MountEntry {
  /** What `release` takes. */
  readonly reference: string;
  readonly device: string;
  readonly path: string;
  readonly ownerUid: number;
  /** References that hold the device active, this one included. */
  readonly count: number;
  readonly holder?: "session" | "lease" | "permanent" | undefined;
  /** Of a lease: the time that is left of it. */
  readonly leaseLeftMs?: number | undefined;
  readonly readOnly?: boolean | undefined;
  /** `path` is a block device: it is not mounted. */
  readonly block?: boolean | undefined;
  /** False where it is to be mounted again after a reboot and is not yet. */
  readonly mounted?: boolean | undefined;
}

export interface ReleaseResult {
  readonly device: string;
  /** References left; 0: it was unmounted and deactivated. */
  readonly count: number;
}

/** What the resources need of their client. */
export interface Owner {
  mount(options: { readonly device: string } & MountOptions & ChangeOptions): Promise<Mount>;
  activate(options: { readonly device: string } & ActivateOptions & ChangeOptions): Promise<Mount>;
  release(options: { readonly reference: string } & ChangeOptions): Promise<ReleaseResult>;
  remove(
    options: { readonly name: string; readonly onBehalfOf?: number | undefined } & ChangeOptions,
  ): Promise<void>;
}

export function deviceFromWire(wire: MethodResult<"device.get">): Device {
  return {
    ...wire,
    originUuid: wire.originUuid,
    sizeBytes: BigInt(wire.sizeBytes),
    transactionId: BigInt(wire.transactionId),
  };
}

export function forecastFromWire(wire: MethodResult<"pool.forecast">): Forecast {
  const { monitored, data, metadata } = wire;
  return { monitored, data: spaceFromWire(data), metadata: spaceFromWire(metadata) };
}

function spaceFromWire(wire: MethodResult<"pool.forecast">["data"]): SpaceForecast | undefined {
  if (wire === undefined) return undefined;
  return {
    growthBytesPerSecond: wire.growthBytesPerSecond,
    secondsToFull: wire.secondsToFull,
    secondsToExhausted: wire.secondsToExhausted,
    growthLimitBytes: BigInt(wire.growthLimitBytes),
  };
}

export function usageFromWire({ atMs, devices }: MethodResult<"pool.usage">): Usage {
  return {
    atMs,
    devices: devices.map(({ name, uuid, mappedBytes, exclusiveBytes, sharedBytes }) => ({
      name,
      uuid,
      mappedBytes: BigInt(mappedBytes),
      exclusiveBytes: BigInt(exclusiveBytes),
      sharedBytes: BigInt(sharedBytes),
    })),
  };
}

export function statusFromWire(wire: MethodResult<"pool.status">): PoolStatus {
  return {
    ...wire,
    transactionId: BigInt(wire.transactionId),
    blockSizeBytes: BigInt(wire.blockSizeBytes),
    dataUsedBytes: BigInt(wire.dataUsedBytes),
    dataTotalBytes: BigInt(wire.dataTotalBytes),
    metadataUsedBytes: BigInt(wire.metadataUsedBytes),
    metadataTotalBytes: BigInt(wire.metadataTotalBytes),
    lowWaterBytes: BigInt(wire.lowWaterBytes),
    growth: {
      data: growthFromWire(wire.growth.data),
      metadata: growthFromWire(wire.growth.metadata),
    },
  };
}

function growthFromWire(wire: MethodResult<"pool.status">["growth"]["data"]): SpaceGrowth {
  const { enabled, stepBytes, ceilingBytes } = wire;
  return {
    enabled,
    stepBytes: BigInt(stepBytes),
    ceilingBytes: ceilingBytes === undefined ? undefined : BigInt(ceilingBytes),
  };
}

/** One reference to a mounted device. `await using` releases it at the end of the block. */
export class Mount implements AsyncDisposable {
  readonly reference: string;
  readonly device: string;
  readonly path: string;
  readonly #owner: Owner;

  constructor(owner: Owner, entry: MountEntry) {
    this.#owner = owner;
    this.reference = entry.reference;
    this.device = entry.device;
    this.path = entry.path;
  }

  /** The last reference unmounts. BUSY while a process still works in it, and then it stays held. */
  async release(options: ChangeOptions = {}): Promise<ReleaseResult> {
    return this.#owner.release({ ...options, reference: this.reference });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.release();
    } catch (error) {
      // Released by hand before: what disposing wants is true already.
      if (!hasCode(error, "NOT_MOUNTED")) throw error;
    }
  }
}

/** A device of one's own. `await using` removes it at the end of the block. */
export class Clone implements AsyncDisposable {
  readonly name: string;
  /** As it was when it was made. */
  readonly device: Device;
  readonly #owner: Owner;
  /** In whose name it was made, and is removed. */
  readonly #onBehalfOf: number | undefined;

  constructor(owner: Owner, device: Device, onBehalfOf?: number) {
    this.#owner = owner;
    this.name = device.name;
    this.device = device;
    this.#onBehalfOf = onBehalfOf;
  }

  async mount(options: MountOptions & ChangeOptions = {}): Promise<Mount> {
    return this.#owner.mount({ ...options, device: this.name });
  }

  /** As a block device of one's own: `path` of what it returns (`Client.activate`). */
  async activate(options: ActivateOptions & ChangeOptions = {}): Promise<Mount> {
    return this.#owner.activate({ ...options, device: this.name });
  }

  /** BUSY while it is mounted. */
  async remove(options: ChangeOptions = {}): Promise<void> {
    await this.#owner.remove({ ...options, name: this.name, onBehalfOf: this.#onBehalfOf });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.remove();
    } catch (error) {
      // Removed by hand before: what disposing wants is true already.
      if (!hasCode(error, "NOT_FOUND")) throw error;
    }
  }
}

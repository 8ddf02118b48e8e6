/** What a pool does about its space, with its sizes as bigint. */
import type { MethodParams, MethodResult } from "@thinpool/protocol";

type Wire = MethodResult<"pool.spacePolicy">;
type WireChange = MethodParams<"pool.setSpacePolicy">;

/** How one of the two spaces grows by itself, once less than its low water is free. */
export interface GrowthPolicy {
  readonly enabled: boolean;
  /** By so much at a time; by less where no more is left. */
  readonly stepBytes: bigint;
  /** It grows no further by itself; absent: as far as what is under it goes. */
  readonly ceilingBytes?: bigint;
}

export interface SpacePolicy {
  readonly dataGrowth: GrowthPolicy;
  readonly metadataGrowth: GrowthPolicy;
  /** Growth leaves so much of the host's filesystem alone. */
  readonly hostReserveBytes: bigint;
  /** Creating is refused while less data is free. */
  readonly dataFloorBytes: bigint;
  /** Creating is refused while less metadata is free. */
  readonly metadataFloorBytes: bigint;
  /** Whether devices may promise more than the pool has, or up to so many times its data. */
  readonly overProvisioning: Wire["overProvisioning"];
  /** What becomes of a write that finds no free block. */
  readonly onNoSpace: Wire["onNoSpace"];
  /** Whether a removed device's blocks go back to the host's filesystem. */
  readonly giveBackRemoved: boolean;
}

export interface GrowthChange {
  readonly enabled?: boolean;
  readonly stepBytes?: bigint;
  /** Null: no ceiling. */
  readonly ceilingBytes?: bigint | null;
}

/** What is left out stays as it is. */
export interface SpacePolicyChange extends Partial<
  Omit<SpacePolicy, "dataGrowth" | "metadataGrowth">
> {
  readonly dataGrowth?: GrowthChange;
  readonly metadataGrowth?: GrowthChange;
}

export function spacePolicyFromWire(wire: Wire): SpacePolicy {
  const { hostReserveBytes, dataFloorBytes, metadataFloorBytes } = wire;
  return {
    dataGrowth: growthFromWire(wire.dataGrowth),
    metadataGrowth: growthFromWire(wire.metadataGrowth),
    hostReserveBytes: BigInt(hostReserveBytes),
    dataFloorBytes: BigInt(dataFloorBytes),
    metadataFloorBytes: BigInt(metadataFloorBytes),
    overProvisioning: wire.overProvisioning,
    onNoSpace: wire.onNoSpace,
    giveBackRemoved: wire.giveBackRemoved,
  };
}

function growthFromWire({ enabled, stepBytes, ceilingBytes }: Wire["dataGrowth"]): GrowthPolicy {
  const ceiling = ceilingBytes === undefined ? {} : { ceilingBytes: BigInt(ceilingBytes) };
  return { enabled, stepBytes: BigInt(stepBytes), ...ceiling };
}

export function spacePolicyChangeToWire(change: SpacePolicyChange): WireChange {
  const { dataGrowth, metadataGrowth, overProvisioning, onNoSpace, giveBackRemoved } = change;
  const { hostReserveBytes, dataFloorBytes, metadataFloorBytes } = change;
  return {
    ...(dataGrowth === undefined ? {} : { dataGrowth: growthToWire(dataGrowth) }),
    ...(metadataGrowth === undefined ? {} : { metadataGrowth: growthToWire(metadataGrowth) }),
    ...(hostReserveBytes === undefined ? {} : { hostReserveBytes: hostReserveBytes.toString() }),
    ...(dataFloorBytes === undefined ? {} : { dataFloorBytes: dataFloorBytes.toString() }),
    ...(metadataFloorBytes === undefined
      ? {}
      : { metadataFloorBytes: metadataFloorBytes.toString() }),
    ...(overProvisioning === undefined ? {} : { overProvisioning }),
    ...(onNoSpace === undefined ? {} : { onNoSpace }),
    ...(giveBackRemoved === undefined ? {} : { giveBackRemoved }),
  };
}

function growthToWire(change: GrowthChange): NonNullable<WireChange["dataGrowth"]> {
  const { enabled, stepBytes, ceilingBytes } = change;
  return {
    ...(enabled === undefined ? {} : { enabled }),
    ...(stepBytes === undefined ? {} : { stepBytes: stepBytes.toString() }),
    ...(ceilingBytes === undefined ? {} : { ceilingBytes: ceilingBytes?.toString() ?? null }),
  };
}

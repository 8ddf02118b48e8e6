/** The pool's space policy to the wire, and a change of it from there. */
import type { MethodParams, MethodResult } from "@thinpool/protocol";
import type { GrowthPolicy, SpacePolicy, SpacePolicyChange } from "@thinpool/thinpool";

type WireChange = MethodParams<"pool.setSpacePolicy">;

export function growthToWire(growth: GrowthPolicy): MethodResult<"pool.status">["growth"]["data"] {
  const { enabled, stepBytes, ceilingBytes } = growth;
  return {
    enabled,
    stepBytes: stepBytes.toString(),
    ...(ceilingBytes === undefined ? {} : { ceilingBytes: ceilingBytes.toString() }),
  };
}

export function spacePolicyToWire(policy: SpacePolicy): MethodResult<"pool.spacePolicy"> {
  return {
    dataGrowth: growthToWire(policy.dataGrowth),
    metadataGrowth: growthToWire(policy.metadataGrowth),
    hostReserveBytes: policy.hostReserveBytes.toString(),
    dataFloorBytes: policy.dataFloorBytes.toString(),
    metadataFloorBytes: policy.metadataFloorBytes.toString(),
    overProvisioning: policy.overProvisioning,
    onNoSpace: policy.onNoSpace,
    giveBackRemoved: policy.giveBackRemoved,
  };
}

export function spacePolicyChangeOf(wire: WireChange): SpacePolicyChange {
  const { dataGrowth, metadataGrowth, hostReserveBytes, dataFloorBytes, metadataFloorBytes } = wire;
  const { overProvisioning, onNoSpace, giveBackRemoved } = wire;
  return {
    ...(dataGrowth === undefined ? {} : { dataGrowth: growthChangeOf(dataGrowth) }),
    ...(metadataGrowth === undefined ? {} : { metadataGrowth: growthChangeOf(metadataGrowth) }),
    ...(hostReserveBytes === undefined ? {} : { hostReserveBytes: BigInt(hostReserveBytes) }),
    ...(dataFloorBytes === undefined ? {} : { dataFloorBytes: BigInt(dataFloorBytes) }),
    ...(metadataFloorBytes === undefined ? {} : { metadataFloorBytes: BigInt(metadataFloorBytes) }),
    ...(overProvisioning === undefined ? {} : { overProvisioning }),
    ...(onNoSpace === undefined ? {} : { onNoSpace }),
    ...(giveBackRemoved === undefined ? {} : { giveBackRemoved }),
  };
}

function growthChangeOf(wire: NonNullable<WireChange["dataGrowth"]>): Partial<GrowthPolicy> {
  const { enabled, stepBytes, ceilingBytes } = wire;
  const ceiling = typeof ceilingBytes === "string" ? BigInt(ceilingBytes) : undefined;
  return {
    ...(enabled === undefined ? {} : { enabled }),
    ...(stepBytes === undefined ? {} : { stepBytes: BigInt(stepBytes) }),
    // Said to be undefined is another thing than not said.
    ...(ceilingBytes === undefined ? {} : { ceilingBytes: ceiling }),
  };
}

/** The pool's space policy as text, and a change of it from flags. */
import { Flags } from "@oclif/core";
import type { GrowthChange, GrowthPolicy, SpacePolicy, SpacePolicyChange } from "@thinpool/sdk";
import { UsageError } from "../errors.ts";
import { formatSize, parseSize } from "../size.ts";
import { renderFields } from "../table.ts";

export const ON_NO_SPACE = [
  "queue_if_no_space",
  "error_if_no_space",
  "error_when_exhausted",
] as const satisfies readonly SpacePolicy["onNoSpace"][];

const ON_OFF = ["on", "off"] as const;

export const onOffFlag = Flags.option({ options: ON_OFF });

/** "10GiB" to bytes, "none" to that word. */
export const sizeOrNoneFlag = Flags.custom<bigint | "none">({
  helpValue: "SIZE",
  parse: async (text) => (text === "none" ? text : parseSize(text)),
});

/** "allow", "forbid" or a ratio. */
export const overProvisionFlag = Flags.custom<SpacePolicy["overProvisioning"]>({
  helpValue: "allow|forbid|RATIO",
  parse: async (text) => {
    if (text === "allow" || text === "forbid") return { mode: text };
    if (/^[0-9]{1,6}(\.[0-9]{1,3})?$/.test(text)) return { mode: "ratio", ratio: Number(text) };
    throw new UsageError({
      reason: `${JSON.stringify(text)} is neither allow nor forbid, nor a ratio`,
      hint: "Write a ratio as 2 or 2.5: so many times the pool's data.",
    });
  },
});

type OnOff = (typeof ON_OFF)[number];

interface ChangeFlags {
  readonly "data-growth": OnOff | undefined;
  readonly "data-step": bigint | undefined;
  readonly "data-ceiling": bigint | "none" | undefined;
  readonly "data-floor": bigint | "none" | undefined;
  readonly "metadata-growth": OnOff | undefined;
  readonly "metadata-step": bigint | undefined;
  readonly "metadata-ceiling": bigint | "none" | undefined;
  readonly "metadata-floor": bigint | "none" | undefined;
  readonly "host-reserve": bigint | "none" | undefined;
  readonly overprovision: SpacePolicy["overProvisioning"] | undefined;
  readonly "on-no-space": SpacePolicy["onNoSpace"] | undefined;
  readonly "give-back-removed": OnOff | undefined;
}

/** Undefined where no flag asks for any. */
export function changeOf(flags: ChangeFlags): SpacePolicyChange | undefined {
  const data = given<GrowthChange>({
    enabled: isOn(flags["data-growth"]),
    stepBytes: flags["data-step"],
    ceilingBytes: noneAs(null, flags["data-ceiling"]),
  });
  const metadata = given<GrowthChange>({
    enabled: isOn(flags["metadata-growth"]),
    stepBytes: flags["metadata-step"],
    ceilingBytes: noneAs(null, flags["metadata-ceiling"]),
  });
  return given<SpacePolicyChange>({
    dataGrowth: data,
    metadataGrowth: metadata,
    hostReserveBytes: noneAs(0n, flags["host-reserve"]),
    dataFloorBytes: noneAs(0n, flags["data-floor"]),
    metadataFloorBytes: noneAs(0n, flags["metadata-floor"]),
    overProvisioning: flags.overprovision,
    onNoSpace: flags["on-no-space"],
    giveBackRemoved: isOn(flags["give-back-removed"]),
  });
}

function isOn(value: OnOff | undefined): boolean | undefined {
  return value === undefined ? undefined : value === "on";
}

function noneAs<None>(none: None, value: bigint | "none" | undefined): bigint | None | undefined {
  return value === "none" ? none : value;
}

/** Without the fields that are undefined; undefined where no other is left. */
function given<Fields extends object>(fields: {
  readonly [K in keyof Fields]: Fields[K] | undefined;
}): Fields | undefined {
  const set = Object.entries(fields).filter(([, value]) => value !== undefined);
  return set.length === 0 ? undefined : (Object.fromEntries(set) as Fields);
}

interface Rendering {
  readonly bytes: boolean;
}

export function renderSpacePolicy(policy: SpacePolicy, options: Rendering): string {
  return renderFields(fieldsOf(policy, options));
}

/** "data floor from 1 GiB to 5 GiB" for each that would be another. */
export function changedLines(
  policy: SpacePolicy,
  change: SpacePolicyChange,
  options: Rendering,
): readonly string[] {
  const next = fieldsOf(changed(policy, change), options);
  return fieldsOf(policy, options).flatMap(([name, from], at) => {
    const to = next[at]?.[1] ?? from;
    return from === to ? [] : [`${name} from ${from} to ${to}`];
  });
}

function changed(policy: SpacePolicy, change: SpacePolicyChange): SpacePolicy {
  return {
    ...policy,
    ...change,
    dataGrowth: changedGrowth(policy.dataGrowth, change.dataGrowth),
    metadataGrowth: changedGrowth(policy.metadataGrowth, change.metadataGrowth),
  };
}

function changedGrowth(growth: GrowthPolicy, change: GrowthChange = {}): GrowthPolicy {
  const { enabled, stepBytes, ceilingBytes: before } = growth;
  const { ceilingBytes = before } = change;
  return {
    enabled: change.enabled ?? enabled,
    stepBytes: change.stepBytes ?? stepBytes,
    ...(ceilingBytes === undefined || ceilingBytes === null ? {} : { ceilingBytes }),
  };
}

/** Named as their flags are. */
function fieldsOf(
  policy: SpacePolicy,
  { bytes }: Rendering,
): readonly (readonly [name: string, value: string])[] {
  const size = (value: bigint): string => (bytes ? String(value) : formatSize(value));
  const onOff = (on: boolean): OnOff => (on ? "on" : "off");
  const orNone = (value: bigint | undefined): string =>
    value === undefined || value === 0n ? "none" : size(value);
  const growth = (whose: string, { enabled, stepBytes, ceilingBytes }: GrowthPolicy) =>
    [
      [`${whose} growth`, onOff(enabled)],
      [`${whose} step`, size(stepBytes)],
      [`${whose} ceiling`, orNone(ceilingBytes)],
    ] as const;
  const { overProvisioning: over } = policy;
  return [
    ...growth("data", policy.dataGrowth),
    ["data floor", orNone(policy.dataFloorBytes)],
    ...growth("metadata", policy.metadataGrowth),
    ["metadata floor", orNone(policy.metadataFloorBytes)],
    ["host reserve", orNone(policy.hostReserveBytes)],
    ["overprovision", over.mode === "ratio" ? `up to ${over.ratio} times the data` : over.mode],
    ["on no space", policy.onNoSpace],
    ["give back removed", onOff(policy.giveBackRemoved)],
  ];
}

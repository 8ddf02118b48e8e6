/**
 * The methods of thinpool.v1: one schema each for params and result; types and checks come from it.
 * 64-bit values are decimal strings on the wire.
 */
import * as v from "valibot";

const MAX_U64 = "18446744073709551615";
/** A 64-bit unsigned value as a decimal string. */
export const u64 = v.pipe(
  v.string(),
  v.regex(/^(0|[1-9][0-9]{0,19})$/),
  // Two decimal strings of the same length compare as their values do.
  v.check(
    (text) => text.length < MAX_U64.length || (text.length === MAX_U64.length && text <= MAX_U64),
    "Invalid u64: it is larger than 2^64-1",
  ),
);
export const deviceName = v.pipe(
  v.string(),
  v.maxLength(64),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9._+-]*$/),
);
export const uuid = v.pipe(v.string(), v.uuid());
const uid = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_fffe));
const filesystem = v.picklist(["ext4", "xfs", "none"]);

export const device = v.object({
  name: deviceName,
  uuid,
  thinId: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xff_ffff)),
  sizeBytes: u64,
  filesystem,
  originUuid: v.optional(uuid),
  createdAtMs: v.pipe(v.number(), v.integer(), v.minValue(0)),
  transactionId: u64,
  ownerUid: uid,
  active: v.boolean(),
});

export const mount = v.object({
  /** The reference: what `mount.release` takes. */
  reference: uuid,
  device: deviceName,
  path: v.string(),
  ownerUid: uid,
  /** How many references hold the device mounted, this one included. */
  count: v.pipe(v.number(), v.integer(), v.minValue(1)),
});

export const poolStatus = v.object({
  uuid,
  state: v.picklist(["working", "read-only", "out-of-data", "needs-check", "failed"]),
  transactionId: u64,
  blockSizeBytes: u64,
  dataUsedBytes: u64,
  dataTotalBytes: u64,
  metadataUsedBytes: u64,
  metadataTotalBytes: u64,
  lowWaterBytes: u64,
  deviceCount: v.pipe(v.number(), v.integer(), v.minValue(0)),
  activeCount: v.pipe(v.number(), v.integer(), v.minValue(0)),
  backing: v.picklist(["loop", "block"]),
});

/** `changes`: it alters something, so it is audited, and never sent again by itself after a cut. */
export const methods = {
  "pool.status": { changes: false, params: v.object({}), result: poolStatus },
  "device.create": {
    changes: true,
    params: v.object({
      name: deviceName,
      sizeBytes: v.optional(u64),
      filesystem: v.optional(filesystem),
    }),
    result: device,
  },
  "device.clone": {
    changes: true,
    params: v.object({ origin: deviceName, name: deviceName }),
    result: device,
  },
  "device.list": { changes: false, params: v.object({}), result: v.array(device) },
  "device.get": { changes: false, params: v.object({ name: deviceName }), result: device },
  "device.remove": {
    changes: true,
    params: v.object({ name: deviceName }),
    result: v.object({}),
  },
  "mount.create": { changes: true, params: v.object({ device: deviceName }), result: mount },
  "mount.release": {
    changes: true,
    params: v.object({ reference: uuid }),
    result: v.object({
      device: deviceName,
      /** References left; 0: it was unmounted and deactivated. */
      count: v.pipe(v.number(), v.integer(), v.minValue(0)),
    }),
  },
  "mount.list": { changes: false, params: v.object({}), result: v.array(mount) },
} as const;

export type MethodName = keyof typeof methods;
export type MethodParams<M extends MethodName> = v.InferOutput<(typeof methods)[M]["params"]>;
export type MethodResult<M extends MethodName> = v.InferOutput<(typeof methods)[M]["result"]>;

export const methodNames: readonly MethodName[] = Object.keys(methods) as MethodName[];

export function isMethodName(text: string): text is MethodName {
  return Object.hasOwn(methods, text);
}

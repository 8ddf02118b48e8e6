/** Whole steps on top of the commands: a device with its table made live, or nothing; a patient removal. */
import { setTimeout as sleep } from "node:timers/promises";
import { NativeError } from "../errors.ts";
import type { DmName, DmUuid } from "../names.ts";
import type {
  DeviceMapper,
  DmDeviceInfo,
  DmDeviceRef,
  DmRun,
  DmStep,
  DmTarget,
} from "./device-mapper.ts";
import { thinPoolFromParams, thinPoolToParams } from "./targets/thin-pool.ts";

export interface ActivateOptions {
  readonly name: DmName;
  readonly uuid: DmUuid;
  readonly table: readonly DmTarget[];
  readonly readOnly?: boolean;
}

export interface Activation {
  readonly outcome: "activated" | "already-active";
  readonly info: DmDeviceInfo;
}

/** A thin-pool's features have an order and a count that may be left out: both forms mean the same. */
function canonicalParams(target: DmTarget): string {
  if (target.type === "thin-pool") return thinPoolToParams(thinPoolFromParams(target.params));
  return target.params.trim().replaceAll(/\s+/g, " ");
}

/** Whether two tables mean the same. Devices are compared as MAJOR:MINOR, as the kernel prints them. */
export function sameTable(a: readonly DmTarget[], b: readonly DmTarget[]): boolean {
  return (
    a.length === b.length &&
    a.every((target, index) => {
      const other = b[index];
      return (
        other !== undefined &&
        target.startSectors === other.startSectors &&
        target.lengthSectors === other.lengthSectors &&
        target.type === other.type &&
        canonicalParams(target) === canonicalParams(other)
      );
    })
  );
}

/** The present device of that name, if it is exactly what is wanted; else the first error is right. */
async function acceptPresent(
  dm: DeviceMapper,
  options: ActivateOptions,
  taken: NativeError,
): Promise<Activation> {
  const differs = (reason: string): NativeError =>
    new NativeError({
      code: "NATIVE_EXISTS",
      operation: "activation",
      object: options.name,
      reason,
      hint: "Remove that device first, or choose another name and uuid.",
      cause: taken,
    });
  let present;
  try {
    present = await dm.table({ name: options.name });
  } catch (error) {
    if (!(error instanceof NativeError && error.code === "NATIVE_NOT_FOUND")) throw error;
    throw differs("a device of another name has its uuid");
  }
  const { info, targets } = present;
  if (info.uuid !== options.uuid) {
    throw differs(`a device of this name exists with the uuid ${info.uuid ?? "(none)"}`);
  }
  if (!info.hasLiveTable || !sameTable(targets, options.table)) {
    throw differs("a device of this name and uuid exists with another table");
  }
  if (info.readOnly !== (options.readOnly === true)) {
    throw differs(`the present device is ${info.readOnly ? "read-only" : "writable"}`);
  }
  if (!info.suspended) return { outcome: "already-active", info };
  // Someone died between suspend and resume: the table is right, so let I/O through.
  return { outcome: "already-active", info: await dm.resume({ name: options.name }) };
}

/** Takes back a creation. A failure of that joins the first one: both are told. */
async function undo(dm: DeviceMapper, device: DmDeviceRef, failure: unknown): Promise<never> {
  try {
    await removeDeviceRetrying(dm, device);
  } catch (undoFailure) {
    const first = failure instanceof NativeError ? failure : undefined;
    throw new NativeError({
      code: first?.code ?? "NATIVE_IO",
      operation: first?.operation ?? "activation",
      object: first?.object ?? "the device",
      ...(first === undefined ? {} : { errno: first.errno }),
      ...(first?.errnoName === undefined ? {} : { errnoName: first.errnoName }),
      reason: `${first?.reason ?? "it failed"}, and the half-made device could not be removed`,
      hint: `${first?.hint ?? ""} Then remove the device (dmsetup remove).`.trim(),
      cause: new AggregateError([failure, undoFailure], "activation and its undoing failed"),
    });
  }
  throw failure;
}

/** What `activateDevice` begins with, for who has it run together with something else. */
export function activationSteps(options: ActivateOptions): readonly DmStep[] {
  const { name, uuid, table, readOnly = false } = options;
  // By uuid: a name could be another's by the time of an undo.
  const device: DmDeviceRef = { uuid };
  return [
    { command: "create", name, uuid },
    { command: "load", device, table, readOnly },
    { command: "resume", device },
  ];
}

/**
 * Creates the device, loads its table, resumes it. On failure the device is gone again. A device
 * that is there already is accepted only with the same uuid, table and mode. After a crash between
 * the steps a device without a live table may be left: its uuid says whose it is. `begun`: the
 * outcome of its `activationSteps`, which were run already.
 */
export async function activateDevice(
  dm: DeviceMapper,
  options: ActivateOptions,
  begun?: Promise<DmRun>,
): Promise<Activation> {
  const { infos, failure } = await (begun ?? dm.run(activationSteps(options)));
  const [made, , resumed] = infos;
  if (resumed !== undefined) return { outcome: "activated", info: resumed };
  if (made !== undefined) return undo(dm, { uuid: options.uuid }, failure);
  if (failure?.code !== "NATIVE_EXISTS") throw failure;
  return acceptPresent(dm, options, failure);
}

export interface RetryOptions {
  /** Default 20. */
  readonly attempts?: number;
  /** The first pause; each next one doubles, up to `maxDelayMs`. Defaults 5 and 200. */
  readonly firstDelayMs?: number;
  readonly maxDelayMs?: number;
  readonly signal?: AbortSignal;
}

const DEFAULT_ATTEMPTS = 20;
const DEFAULT_FIRST_DELAY_MS = 5;
const DEFAULT_MAX_DELAY_MS = 200;

/** Does it again while it fails with NATIVE_BUSY. With the defaults it gives up after about 3 s with the last one. */
export async function retryBusy<T>(run: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const attempts = options.attempts ?? DEFAULT_ATTEMPTS;
  const maxDelayMs = options.maxDelayMs ?? DEFAULT_MAX_DELAY_MS;
  let delayMs = options.firstDelayMs ?? DEFAULT_FIRST_DELAY_MS;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run();
    } catch (error) {
      const isBusy = error instanceof NativeError && error.code === "NATIVE_BUSY";
      if (!isBusy || attempt >= attempts) throw error;
    }
    await sleep(delayMs, undefined, options.signal === undefined ? {} : { signal: options.signal });
    delayMs = Math.min(delayMs * 2, maxDelayMs);
  }
}

/** Removes a device that somebody (a udev rule, blkid) may hold open for a moment. */
export function removeDeviceRetrying(
  dm: DeviceMapper,
  device: DmDeviceRef,
  options: RetryOptions = {},
): Promise<void> {
  return retryBusy(async () => {
    await dm.removeDevice(device);
  }, options);
}

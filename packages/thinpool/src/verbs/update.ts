import type { Device } from "../device.ts";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { checkLabels } from "../labels.ts";
import { checkOwner } from "../options.ts";
import type { DeviceRecord, Labels } from "../store/records.ts";

export interface UpdateOptions {
  readonly name: string;
  readonly ownerUid?: number;
  /** Added to what is there, or put in its place; null takes a label away. */
  readonly labels?: Readonly<Record<string, string | null>>;
  /** Only of an inactive device (DEVICE_BUSY): its next activation has it. */
  readonly readOnly?: boolean;
}

export interface UpdateResult {
  readonly outcome: "changed" | "already-so";
  readonly device: Device;
}

/** What only the ledger knows of a device: one commit, the kernel is not asked. */
export function update(engine: Engine, options: UpdateOptions): Promise<UpdateResult> {
  return engine.changeDevice("update", options.name, (name) => {
    const record = engine.device("update", name);
    const ownerUid = options.ownerUid ?? record.ownerUid;
    checkOwner(ownerUid);
    const labels = merged(record.labels, options.labels ?? {});
    const readOnly = options.readOnly ?? record.readOnly;
    if (readOnly !== record.readOnly && engine.states.isActive(record.uuid)) throw active(record);
    const change = { ownerUid, labels, readOnly };
    const same =
      ownerUid === record.ownerUid &&
      readOnly === record.readOnly &&
      JSON.stringify(labels) === JSON.stringify(record.labels);
    const result: UpdateResult = same
      ? { outcome: "already-so", device: engine.view(record) }
      : {
          outcome: "changed",
          device: engine.view(engine.ledger.updateDevice(record, change, engine.transactionId)),
        };
    return Promise.resolve(result);
  });
}

function merged(before: Labels, change: Readonly<Record<string, string | null>>): Labels {
  const labels = new Map(Object.entries(before));
  for (const [key, value] of Object.entries(change)) {
    if (value === null) labels.delete(key);
    else labels.set(key, value);
  }
  return checkLabels(Object.fromEntries(labels));
}

function active(record: DeviceRecord): PoolError {
  return new PoolError({
    code: "DEVICE_BUSY",
    operation: "update",
    object: record.name,
    reason: "it is active, and whoever uses it counts on it as it is",
    hint: "Deactivate it, make it read-only or writable, activate it again.",
  });
}

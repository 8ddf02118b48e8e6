/** Steps that several verbs are made of. Each changes one device's state through `transition`. */
import { randomUUID } from "node:crypto";
import type { DmRun } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { type DeviceRecord, type NewDevice, takenUuid } from "../store/ledger.ts";
import type { Creation } from "../thin-maker.ts";
import type { Committed, Member } from "../transactions.ts";
import { transition } from "../transition.ts";

export function newDevice(
  device: Pick<NewDevice, "name" | "sizeBytes" | "filesystem" | "ownerUid"> & Partial<NewDevice>,
): NewDevice {
  return {
    originUuid: undefined,
    readOnly: false,
    labels: {},
    externalOrigin: undefined,
    growing: false,
    filling: false,
    ...device,
    uuid: device.uuid ?? randomUUID(),
    createdAtMs: Date.now(),
  };
}

/** In one transaction: when it resolves they count (unless still to be filled) and are inactive. */
export async function makeDevices(
  engine: Engine,
  creations: readonly Creation[],
  more: Pick<Member, "next" | "replaces"> = {},
): Promise<Committed> {
  for (const { device } of creations) {
    // Before a state of it is touched: that is another's, which may be active.
    const { uuid } = device;
    const isTaken = engine.states.has(uuid) || engine.ledger.hasUuid(uuid, engine.transactionId);
    if (isTaken) throw takenUuid(device);
  }
  const commit = (left: readonly Creation[]): Promise<Committed> => {
    const [first, ...others] = left;
    if (first === undefined) return engine.commit({ creations, ...more });
    engine.states.set(first.device.uuid, "absent");
    return transition(engine.states, first.device, "create", () => commit(others));
  };
  return commit(creations);
}

/** `begun`: its `activationSteps` run already. */
export async function activateRecord(
  engine: Engine,
  record: DeviceRecord,
  begun?: Promise<DmRun>,
): Promise<void> {
  await transition(engine.states, record, "activate", () =>
    engine.withPool(() => engine.thins.activate(record, { begun })),
  );
}

export async function deactivateRecord(engine: Engine, record: DeviceRecord): Promise<void> {
  await transition(engine.states, record, "deactivate", () =>
    engine.withPool(() => engine.thins.deactivate(record.uuid)),
  );
}

/** Of an inactive device: a transaction that deletes it. */
export async function deleteRecord(engine: Engine, record: DeviceRecord): Promise<void> {
  await transition(engine.states, record, "remove", () =>
    engine.commit({ creations: [], deletion: record }),
  );
}

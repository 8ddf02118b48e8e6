/**
 * References as named holders, pure. A device is mounted while it has a reference; the record of that
 * is one value, and these functions are the only ways from one to the next:
 *
 *   (none) --acquire--> mounting --confirm--> mounted --release the last--> unmounting --> (none)
 *                                             mounted <--revert------------ unmounting
 *
 * "mounting" and "unmounting" are written before the kernel is asked, so that a crash in between
 * leaves a record that says what to look for (`settle`).
 */

export interface Reference {
  readonly id: string;
  readonly holderUid: number;
  readonly createdAtMs: number;
}

export type MountState =
  /** The mount may or may not be there; nobody was told of it. */
  | "mounting"
  /** `mountId` and `dev` say which mount it is. */
  | "mounted"
  /** The mount may or may not be there; its last holder gave it up. */
  | "unmounting";

export interface MountRecord {
  readonly deviceUuid: string;
  readonly deviceName: string;
  readonly ownerUid: number;
  readonly target: string;
  readonly dmUuid: string;
  readonly state: MountState;
  readonly mountId: number | undefined;
  /** "major:minor" */
  readonly dev: string | undefined;
  readonly references: readonly Reference[];
}

export type Acquired =
  | { readonly step: "mount"; readonly record: MountRecord }
  | { readonly step: "share"; readonly record: MountRecord };

export type Released =
  | { readonly step: "unmount"; readonly record: MountRecord }
  | { readonly step: "keep"; readonly record: MountRecord };

export type NewMount = Omit<MountRecord, "state" | "mountId" | "dev" | "references">;

/** Adds a holder. The record that is there must be settled: it is none, or "mounted". */
export function acquire(
  current: MountRecord | undefined,
  reference: Reference,
  fresh: NewMount,
): Acquired {
  if (current === undefined) {
    const record: MountRecord = {
      ...fresh,
      state: "mounting",
      mountId: undefined,
      dev: undefined,
      references: [reference],
    };
    return { step: "mount", record };
  }
  assertState(current, "mounted");
  if (current.references.some(({ id }) => id === reference.id)) {
    throw new Error(`reference ${reference.id} is held already`);
  }
  return { step: "share", record: { ...current, references: [...current.references, reference] } };
}

export function confirm(
  record: MountRecord,
  mount: { readonly mountId: number; readonly dev: string },
): MountRecord {
  assertState(record, "mounting");
  return { ...record, state: "mounted", mountId: mount.mountId, dev: mount.dev };
}

/** The last reference stays in the record until the unmount is done: it may be refused. */
export function release(record: MountRecord, id: string): Released {
  assertState(record, "mounted");
  const rest = record.references.filter((reference) => reference.id !== id);
  if (rest.length !== record.references.length - 1) throw new Error(`reference ${id} is not held`);
  return rest.length === 0
    ? { step: "unmount", record: { ...record, state: "unmounting" } }
    : { step: "keep", record: { ...record, references: rest } };
}

/** The kernel refused to unmount: as before. */
export function revert(record: MountRecord): MountRecord {
  assertState(record, "unmounting");
  return { ...record, state: "mounted" };
}

/** Unmounted, but the device could not be deactivated: nobody holds it, and that is still to be done. */
export function abandon(record: MountRecord): MountRecord {
  return { ...record, state: "unmounting", mountId: undefined, dev: undefined, references: [] };
}

/** What the kernel shows for a record's device and target. */
export interface Observed {
  /** The dm device with the record's dm uuid, "major:minor"; undefined: it is not active. */
  readonly activeDev: string | undefined;
  readonly mounts: readonly {
    readonly mountId: number;
    readonly dev: string;
    readonly mountPoint: string;
  }[];
}

export type Settlement =
  /** As the record says. */
  | { readonly step: "keep" }
  /** Ours, but nobody was told of it or all gave it up: unmount, deactivate, forget. */
  | { readonly step: "unmount"; readonly mountId: number }
  /** Not there: deactivate, forget. */
  | { readonly step: "forget"; readonly reason: string };

/** Compares a record with the kernel, after a crash or a failure. Only what the record proves is ours. */
export function settle(record: MountRecord, observed: Observed): Settlement {
  const { activeDev } = observed;
  if (activeDev === undefined) return { step: "forget", reason: "the device is not active" };
  const ours = observed.mounts.find(
    (mount) =>
      mount.mountPoint === record.target &&
      mount.dev === activeDev &&
      (record.mountId === undefined || mount.mountId === record.mountId),
  );
  if (ours === undefined) return { step: "forget", reason: "its mount is gone" };
  if (record.state === "mounted") {
    return record.dev === activeDev
      ? { step: "keep" }
      : { step: "forget", reason: "its device number is another one now" };
  }
  return { step: "unmount", mountId: ours.mountId };
}

function assertState(record: MountRecord, state: MountState): void {
  if (record.state !== state) {
    throw new Error(`the record of ${record.deviceName} is ${record.state}, not ${state}`);
  }
}

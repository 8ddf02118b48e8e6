/**
 * The record of one mount, pure. A mount is there while somebody holds it; its record is one value,
 * and these functions are the only ways from one to the next:
 *
 *   (none) --acquire--> mounting --confirm--> mounted --release the last--> unmounting --> deactivating
 *                                             mounted <--refused----------- unmounting          |
 *                                             mounted --end of the last---> releasing           v
 *                         mounted <--acquire-- releasing --> unmounting                       (none)
 *   (a reboot)  mounted --> absent --confirm--> mounted
 *
 * "mounting" and "unmounting" are written before the kernel is asked, so that a crash in between
 * leaves a record that says what to look for (`settle`). A device may have several mounts; it is
 * active while one of its records is there.
 */
import type { Reference } from "./holder.ts";

export type MountState =
  /** The mount may or may not be there; nobody was told of it. */
  | "mounting"
  /** `mountId` and `dev` say which mount it is. */
  | "mounted"
  /** Held, but not there: the machine was rebooted. It is to be mounted again. */
  | "absent"
  /** There, and nobody holds it: a process still works in it, and it is not taken away from it. */
  | "releasing"
  /** The mount may or may not be there; it is being unmounted. */
  | "unmounting"
  /** Unmounted; the device may still be active. */
  | "deactivating";

/** How a mount is made, beyond what holds for all of them. */
export interface MountForm {
  readonly readOnly: boolean;
  readonly noExec: boolean;
  readonly noSymFollow: boolean;
  /**
   * "mapped": what root made on the disk shows as the owner's (idmapped mount). "top-folder": only the
   * top folder is given to the owner, on the disk, for kernels that can't map.
   */
  readonly ownership: "mapped" | "top-folder";
}

export interface MountRecord {
  readonly id: string;
  readonly deviceUuid: string;
  readonly deviceName: string;
  /** Whose the files appear to be. */
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly dmUuid: string;
  /**
   * "own": below the daemon's root of mounts. "folder": a folder of the holder's. "block": not mounted;
   * `target` is a node of the holder's, and what is said of a mount goes for it. It has no mount id of
   * its own, and tells by its device number whose it is.
   */
  readonly place: "own" | "folder" | "block";
  readonly target: string;
  /** The number of the mount namespace that `target` is in; undefined: the daemon's own. */
  readonly namespace: number | undefined;
  readonly form: MountForm;
  /** After so long in "releasing" it is unmounted lazily; undefined: never. */
  readonly lazyAfterMs: number | undefined;
  readonly state: MountState;
  readonly mountId: number | undefined;
  /** "major:minor" */
  readonly dev: string | undefined;
  /** The boot that `mountId` and `dev` are of. */
  readonly bootId: string;
  readonly references: readonly Reference[];
}

export type NewMount = Omit<MountRecord, "state" | "mountId" | "dev" | "references">;

export type Acquired =
  | { readonly step: "mount"; readonly record: MountRecord }
  | { readonly step: "share"; readonly record: MountRecord };

/** Adds a holder. The record that is there must be settled: "mounted" or "releasing". */
export function acquire(
  current: MountRecord | undefined,
  reference: Reference,
  fresh: NewMount,
): Acquired {
  if (current === undefined) {
    const empty = { mountId: undefined, dev: undefined, references: [reference] };
    return { step: "mount", record: { ...fresh, ...empty, state: "mounting" } };
  }
  assertState(current, "mounted", "releasing");
  if (current.references.some(({ id }) => id === reference.id)) {
    throw new Error(`reference ${reference.id} is held already`);
  }
  const references = [...current.references, reference];
  return { step: "share", record: { ...current, state: "mounted", references } };
}

/** The mount is there. */
export function confirm(
  record: MountRecord,
  mount: { readonly mountId: number; readonly dev: string; readonly bootId: string },
): MountRecord {
  assertState(record, "mounting", "absent");
  return { ...record, ...mount, state: "mounted" };
}

export type Released =
  | { readonly step: "keep"; readonly record: MountRecord }
  | { readonly step: "unmount"; readonly record: MountRecord }
  /** It was not mounted: nothing is left to be done but to forget it. */
  | { readonly step: "forget"; readonly record: MountRecord };

/** Its holder gives it up. The last one stays in the record until the unmount is done: it may be refused. */
export function release(record: MountRecord, id: string): Released {
  assertState(record, "mounted", "absent");
  const rest = record.references.filter((reference) => reference.id !== id);
  if (rest.length !== record.references.length - 1) throw new Error(`reference ${id} is not held`);
  if (rest.length > 0) return { step: "keep", record: { ...record, references: rest } };
  if (record.state === "absent") {
    return { step: "forget", record: { ...record, references: rest, state: "deactivating" } };
  }
  return { step: "unmount", record: { ...record, state: "unmounting" } };
}

export type Ended =
  | { readonly step: "keep"; readonly record: MountRecord }
  /** Nobody holds it any more. */
  | { readonly step: "release"; readonly record: MountRecord };

/** These references are over, whatever becomes of the mount: there is nobody to refuse it to. */
export function end(record: MountRecord, ids: ReadonlySet<string>): Ended {
  const references = record.references.filter(({ id }) => !ids.has(id));
  if (references.length > 0 || record.references.length === 0) {
    return { step: "keep", record: { ...record, references } };
  }
  const state =
    record.state === "mounted"
      ? "releasing"
      : record.state === "absent"
        ? "deactivating"
        : record.state;
  return { step: "release", record: { ...record, references, state } };
}

/** Nobody holds it, and it is to be unmounted now. */
export function withdraw(record: MountRecord): MountRecord {
  assertState(record, "releasing");
  return { ...record, state: "unmounting" };
}

/** The kernel refused to unmount: as before. */
export function refused(record: MountRecord): MountRecord {
  assertState(record, "unmounting");
  return { ...record, state: record.references.length > 0 ? "mounted" : "releasing" };
}

/** Not mounted any more: only the device is left to be seen to. */
export function unmounted(record: MountRecord): MountRecord {
  return { ...record, state: "deactivating", mountId: undefined, dev: undefined, references: [] };
}

/** What the kernel shows for a record's device. */
export interface Observed {
  readonly bootId: string;
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
  /** Held, and the machine was rebooted: mount it again. */
  | { readonly step: "remount"; readonly record: MountRecord }
  /** Held, and mounted again already: only the record is behind. */
  | { readonly step: "adopt"; readonly mountId: number; readonly dev: string }
  /** Ours, but nobody was told of it or all gave it up. */
  | { readonly step: "unmount"; readonly mountId: number; readonly dev: string }
  /** Not there. */
  | { readonly step: "deactivate"; readonly reason: string };

/**
 * Compares a record with the kernel, after a crash or a failure. Only what the record proves is ours:
 * by mount id and device number of this boot, or, where the mount id was not yet known, by place and
 * device number. `taken`: the ids of the mounts that other records are about.
 */
export function settle(
  record: MountRecord,
  observed: Observed,
  taken: ReadonlySet<number> = new Set(),
): Settlement {
  if (record.state === "deactivating") return { step: "deactivate", reason: "it is unmounted" };
  const held = record.references.length > 0;
  if (record.bootId !== observed.bootId) {
    // No other mount namespace has outlived the boot.
    if (record.state === "mounted" && held && record.namespace === undefined) {
      const unknown = { mountId: undefined, dev: undefined, bootId: observed.bootId } as const;
      return { step: "remount", record: { ...record, ...unknown, state: "absent" } };
    }
    if (record.state !== "absent" || !held) {
      return { step: "deactivate", reason: "the machine was rebooted" };
    }
  }
  const ours = findOurs(record, observed, taken);
  if (record.state === "absent") {
    const { bootId } = observed;
    if (ours === undefined) return { step: "remount", record: { ...record, bootId } };
    return { step: "adopt", mountId: ours.mountId, dev: ours.dev };
  }
  if (observed.activeDev === undefined) {
    return { step: "deactivate", reason: "the device is not active" };
  }
  if (ours === undefined) return { step: "deactivate", reason: "its mount is gone" };
  if (record.state === "mounted" || record.state === "releasing") return { step: "keep" };
  return { step: "unmount", mountId: ours.mountId, dev: ours.dev };
}

function findOurs(
  record: MountRecord,
  { activeDev, mounts }: Observed,
  taken: ReadonlySet<number>,
): Observed["mounts"][number] | undefined {
  if (activeDev === undefined) return undefined;
  return mounts.find(
    (mount) =>
      mount.dev === activeDev &&
      (record.place === "block" || !taken.has(mount.mountId)) &&
      (record.mountId === undefined
        ? mount.mountPoint === record.target
        : mount.mountId === record.mountId && record.dev === activeDev),
  );
}

function assertState(record: MountRecord, ...states: readonly MountState[]): void {
  if (states.includes(record.state)) return;
  const wanted = states.join(" or ");
  throw new Error(`the record of ${record.deviceName} is ${record.state}, not ${wanted}`);
}

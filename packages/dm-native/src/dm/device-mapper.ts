/**
 * The device-mapper as an interface: the 18 commands of linux/dm-ioctl.h, typed.
 * The kernel (`LinuxDeviceMapper`) is one implementation, @thinpool/dm-sim another.
 *
 * Every method rejects with NativeError. No method holds the event loop; those that may wait long
 * (suspend, waitEvent, the event poll, pool messages on a sick pool) hold none of libuv's threads.
 */
import type { DevNumber } from "../dev-number.ts";
import type { NativeError } from "../errors.ts";
import type { DmName, DmUuid } from "../names.ts";
import type { Sectors } from "../units.ts";

export interface DmVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

/** A device is meant by its name, its uuid, or its number. */
export type DmDeviceRef =
  | { readonly name: DmName }
  | { readonly uuid: DmUuid }
  | { readonly dev: DevNumber };

/** What every command that answers for a device returns (struct dm_ioctl). */
export interface DmDeviceInfo {
  readonly name: DmName;
  readonly uuid: DmUuid | undefined;
  readonly dev: DevNumber;
  /** How many have it open, mounts included. */
  readonly openCount: number;
  readonly eventNr: number;
  readonly targetCount: number;
  readonly suspended: boolean;
  readonly internallySuspended: boolean;
  readonly readOnly: boolean;
  readonly hasLiveTable: boolean;
  readonly hasInactiveTable: boolean;
  readonly deferredRemove: boolean;
}

export interface DmListEntry {
  readonly name: DmName;
  readonly dev: DevNumber;
  /** Undefined below interface 4.37. */
  readonly eventNr: number | undefined;
  /** Undefined where the kernel does not list it, or the device has none. */
  readonly uuid: DmUuid | undefined;
}

/** One line of a table. `params` is the target's own language: see `targets/`. */
export interface DmTarget {
  readonly startSectors: Sectors;
  readonly lengthSectors: Sectors;
  readonly type: string;
  readonly params: string;
}

export interface DmTableReply {
  readonly info: DmDeviceInfo;
  /** With `tableStatus`, `params` holds the target's status line. */
  readonly targets: readonly DmTarget[];
}

export interface DmTargetVersion extends DmVersion {
  readonly type: string;
}

export interface DmGeometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectorsPerTrack: number;
  readonly startSectors: Sectors;
}

/** One command of a `run`. A message's reply, if it has one, is not read. */
export type DmStep =
  | { readonly command: "create"; readonly name: DmName; readonly uuid: DmUuid }
  | {
      readonly command: "load";
      readonly device: DmDeviceRef;
      readonly table: readonly DmTarget[];
      readonly readOnly?: boolean;
    }
  | { readonly command: "resume"; readonly device: DmDeviceRef }
  | { readonly command: "message"; readonly device: DmDeviceRef; readonly text: string };

export interface DmRun {
  /** One for each step that is done, from the first on; undefined for a message. */
  readonly infos: readonly (DmDeviceInfo | undefined)[];
  /** Of the step after those; no later one was tried. Undefined where all are done. */
  readonly failure: NativeError | undefined;
  /** `failure` is of `syncFirst`, and no step was tried. */
  readonly unsynced?: true;
}

/** An open file of the caller's. */
export interface OpenFile {
  readonly fd: number;
  /** Said in errors. */
  readonly path: string;
}

export interface DmRunOptions {
  /**
   * Told once the commands are done, while udev's rules are still waited for and device nodes made: for
   * who need not wait for those. Not called where the run rejects.
   */
  readonly onIssued?: (run: DmRun) => void;
  /**
   * What was written to this file is on its disk (fdatasync(2)) before the first step is tried: on the thread
   * that runs the steps, so that nobody else waits for the disk, and at no further cost.
   */
  readonly syncFirst?: OpenFile;
}

export interface DmEventPoll extends AsyncDisposable {
  /**
   * Resolves when any dm device has had an event since the last call (at once if so), true;
   * false when `timeoutMs` passed first. Arms again before it returns: list and compare afterwards.
   * With `ref: false` the wait does not keep the process alive.
   */
  wait(options: {
    readonly timeoutMs: number;
    readonly signal?: AbortSignal;
    readonly ref?: boolean;
  }): Promise<boolean>;
  close(): Promise<void>;
}

export interface DeviceMapper {
  version(): Promise<DmVersion>;
  /** Removes every dm device of the machine that is not in use. Never call it outside a lab. */
  removeAll(options?: { readonly deferred?: boolean }): Promise<void>;
  listDevices(): Promise<readonly DmListEntry[]>;
  /** A device without a table; load one and resume it, or remove it. EBUSY: the name or uuid is taken, ENXIO: the minor -> NATIVE_EXISTS. */
  createDevice(
    name: DmName,
    options?: { readonly uuid?: DmUuid; readonly minor?: number },
  ): Promise<DmDeviceInfo>;
  /** With `deferred`, an open device goes at its last close. */
  removeDevice(
    device: DmDeviceRef,
    options?: { readonly deferred?: boolean },
  ): Promise<"removed" | "deferred">;
  renameDevice(device: DmDeviceRef, name: DmName): Promise<DmDeviceInfo>;
  /** A device's uuid can be set once, where it has none. */
  setUuid(device: DmDeviceRef, uuid: DmUuid): Promise<DmDeviceInfo>;
  /** Flushes and, unless skipLockFs, freezes a filesystem mounted from it. */
  suspend(
    device: DmDeviceRef,
    options?: { readonly noFlush?: boolean; readonly skipLockFs?: boolean },
  ): Promise<DmDeviceInfo>;
  /** Swaps in the inactive table, if one is loaded, and lets I/O through. */
  resume(
    device: DmDeviceRef,
    options?: { readonly noFlush?: boolean; readonly skipLockFs?: boolean },
  ): Promise<DmDeviceInfo>;
  deviceStatus(device: DmDeviceRef): Promise<DmDeviceInfo>;
  /** Resolves when the device's event number differs from `eventNr`; rejects with the signal's reason when aborted. */
  waitEvent(
    device: DmDeviceRef,
    options: { readonly eventNr: number; readonly signal?: AbortSignal },
  ): Promise<DmTableReply>;
  loadTable(
    device: DmDeviceRef,
    table: readonly DmTarget[],
    options?: { readonly readOnly?: boolean },
  ): Promise<DmDeviceInfo>;
  clearTable(device: DmDeviceRef): Promise<DmDeviceInfo>;
  tableDependencies(
    device: DmDeviceRef,
    options?: { readonly inactive?: boolean },
  ): Promise<readonly DevNumber[]>;
  /** The table as it was loaded (DM_STATUS_TABLE). */
  table(device: DmDeviceRef, options?: { readonly inactive?: boolean }): Promise<DmTableReply>;
  /** The targets' status. Without `noFlush` a thin pool commits first: a monitor sets it. */
  tableStatus(
    device: DmDeviceRef,
    options?: { readonly inactive?: boolean; readonly noFlush?: boolean },
  ): Promise<DmTableReply>;
  listTargetVersions(): Promise<readonly DmTargetVersion[]>;
  /** Interface 4.41 or newer; else looked up in the list. */
  targetVersion(type: string): Promise<DmTargetVersion>;
  /** A message to the target at `sector` (0: the first); its reply, if it has one. */
  message(
    device: DmDeviceRef,
    text: string,
    options?: { readonly sector?: Sectors },
  ): Promise<string | undefined>;
  setGeometry(device: DmDeviceRef, geometry: DmGeometry): Promise<DmDeviceInfo>;
  openEventPoll(): Promise<DmEventPoll>;
  /**
   * Several commands one after another, up to the first that the kernel refuses, on one thread and
   * with no way back in between: for steps that follow each other whatever happens, a fraction of the
   * time of single calls. After a crash any number of them, from the first on, may be done. A resume
   * whose device node can't be made counts as refused, though the kernel has done it and those after it.
   */
  run(steps: readonly DmStep[], options?: DmRunOptions): Promise<DmRun>;
}

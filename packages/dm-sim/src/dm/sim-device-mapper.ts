/** The commands of the simulated device-mapper; errnos as in drivers/md/dm-ioctl.c. */
import {
  type DeviceMapper,
  type DevNumber,
  type DmDeviceInfo,
  type DmDeviceRef,
  type DmEventPoll,
  type DmGeometry,
  type DmListEntry,
  type DmName,
  type DmRun,
  type DmRunOptions,
  type DmStep,
  type DmTableReply,
  type DmTarget,
  type DmTargetVersion,
  type DmUuid,
  type DmVersion,
  formatDevNumber,
  mangle,
  NativeError,
  runOneByOne,
  sameDevNumber,
  type Sectors,
  sectors,
} from "@thinpool/dm-native";
import { type Gate, Refusal } from "../faults.ts";
import type { Machine } from "../machine.ts";
import { DmDevice } from "./dm-device.ts";
import { Table } from "./table.ts";
import { TARGET_VERSIONS } from "./targets.ts";
import { Waiters } from "./waiters.ts";

/** Linux 6.1. */
const DM_VERSION: DmVersion = { major: 4, minor: 47, patch: 0 };

function describeRef(ref: DmDeviceRef): string {
  if ("name" in ref) return ref.name;
  return "uuid" in ref ? ref.uuid : formatDevNumber(ref.dev);
}

function sortKey(device: DmDevice): Buffer {
  return Buffer.from(mangle(device.name));
}

export class SimDeviceMapper implements DeviceMapper {
  readonly #gate: Gate;
  readonly #machine: Machine;
  readonly #devices = new Set<DmDevice>();
  /** Freezes and thaws what is mounted from a device, around a suspend. */
  readonly #lockFs: (device: DmDevice) => void;
  readonly #deviceWaiters = new Waiters<DmDevice>();
  readonly #pollWaiters = new Waiters<"all">();
  #globalEvents = 0;

  constructor(gate: Gate, machine: Machine, lockFs: (device: DmDevice) => void) {
    this.#gate = gate;
    this.#machine = machine;
    this.#lockFs = lockFs;
  }

  version(): Promise<DmVersion> {
    return this.#gate.call("DM_VERSION", "/dev/mapper/control", "", () => DM_VERSION);
  }

  removeAll(options: { readonly deferred?: boolean } = {}): Promise<void> {
    return this.#gate.call("DM_REMOVE_ALL", "/dev/mapper/control", "", () => {
      // Each device that goes may free the one it stood on: again until nothing moves.
      let removed = true;
      while (removed) {
        const free = [...this.#devices].filter((device) => device.openCount === 0);
        for (const device of free) this.#destroy(device);
        removed = free.length > 0;
      }
      if (options.deferred === true) {
        for (const device of this.#devices) device.deferredRemove = true;
      }
      this.#globalEvent();
    });
  }

  listDevices(): Promise<readonly DmListEntry[]> {
    return this.#gate.call("DM_LIST_DEVICES", "/dev/mapper/control", "", () =>
      this.all().map(({ name, dev, eventNr, uuid }) => ({ name, dev, eventNr, uuid })),
    );
  }

  createDevice(
    name: DmName,
    options: { readonly uuid?: DmUuid; readonly minor?: number } = {},
  ): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_DEV_CREATE", name, options.uuid ?? "", () => {
      refuseReserved(name);
      refuseBadMinor(options.minor);
      const devices = [...this.#devices];
      const minors = new Set(devices.map(({ dev }) => dev.minor));
      if (options.minor !== undefined && minors.has(options.minor)) {
        throw new Refusal("ENXIO", "the minor is taken", "NATIVE_EXISTS");
      }
      const { uuid } = options;
      if (devices.some((other) => other.name === name || (uuid && other.uuid === uuid))) {
        throw new Refusal("EBUSY", "the name or uuid is taken", "NATIVE_EXISTS");
      }
      let minor = options.minor ?? 0;
      while (minors.has(minor)) minor += 1;
      const device = new DmDevice({
        machine: this.#machine,
        minor,
        name,
        uuid: options.uuid,
        siblings: () => this.#devices,
        onEvent: (of) => {
          this.#deviceWaiters.wake(of);
          this.#globalEvent();
        },
        onLastClose: (of) => {
          if (of.deferredRemove) this.#destroy(of);
        },
        onSwap: () => this.#globalEvent(),
      });
      this.#devices.add(device);
      this.#machine.add(device);
      this.#globalEvent();
      return device.info();
    });
  }

  removeDevice(
    ref: DmDeviceRef,
    options: { readonly deferred?: boolean } = {},
  ): Promise<"removed" | "deferred"> {
    return this.#gate.call("DM_DEV_REMOVE", describeRef(ref), "", () => {
      const device = this.#device(ref);
      if (device.openCount > 0) {
        if (options.deferred !== true) throw new Refusal("EBUSY", "the device is open");
        device.deferredRemove = true;
        return "deferred";
      }
      this.#destroy(device);
      this.#globalEvent();
      return "removed";
    });
  }

  renameDevice(ref: DmDeviceRef, name: DmName): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_DEV_RENAME", describeRef(ref), name, () => {
      refuseReserved(name);
      const device = this.#device(ref);
      if ([...this.#devices].some((other) => other.name === name)) {
        throw new Refusal("EBUSY", `the name ${name} is taken`, "NATIVE_EXISTS");
      }
      device.name = name;
      return this.#renamed(device);
    });
  }

  setUuid(ref: DmDeviceRef, uuid: DmUuid): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_DEV_RENAME", describeRef(ref), uuid, () => {
      const device = this.#device(ref);
      if ([...this.#devices].some((other) => other.uuid === uuid)) {
        throw new Refusal("EBUSY", `the uuid ${uuid} is taken`, "NATIVE_EXISTS");
      }
      if (device.uuid !== undefined) throw new Refusal("EINVAL", "the device has a uuid already");
      device.uuid = uuid;
      return this.#renamed(device);
    });
  }

  suspend(
    ref: DmDeviceRef,
    options: { readonly noFlush?: boolean; readonly skipLockFs?: boolean } = {},
  ): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_DEV_SUSPEND", describeRef(ref), "", () => {
      const device = this.#device(ref);
      if (!device.suspended) device.refuseToWait();
      if (!device.suspended && options.skipLockFs !== true && options.noFlush !== true) {
        this.#lockFs(device);
      }
      device.suspend();
      return device.info();
    });
  }

  resume(ref: DmDeviceRef): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_DEV_RESUME", describeRef(ref), "", () => {
      const device = this.#device(ref);
      device.resume();
      return device.info();
    });
  }

  deviceStatus(ref: DmDeviceRef): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_DEV_STATUS", describeRef(ref), "", () => this.#device(ref).info());
  }

  async waitEvent(
    ref: DmDeviceRef,
    options: { readonly eventNr: number; readonly signal?: AbortSignal },
  ): Promise<DmTableReply> {
    const device = await this.#gate.call("DM_DEV_WAIT", describeRef(ref), "", () =>
      this.#device(ref),
    );
    while (device.eventNr === options.eventNr && this.#devices.has(device)) {
      await this.#deviceWaiters.wait(device, options.signal);
    }
    return reply(device, device.live, (entry) => entry.target.status({ noFlush: true }));
  }

  loadTable(
    ref: DmDeviceRef,
    lines: readonly DmTarget[],
    options: { readonly readOnly?: boolean } = {},
  ): Promise<DmDeviceInfo> {
    const detail = lines.map((line) => `${line.type} ${line.params}`).join("\n");
    return this.#gate.call("DM_TABLE_LOAD", describeRef(ref), detail, () => {
      const device = this.#device(ref);
      const table = Table.load(device, lines, options.readOnly ?? false);
      const immutable = device.live?.entries.find((entry) => entry.target.immutable)?.target.type;
      const next = table.entries[0]?.target.type;
      if (immutable !== undefined && next !== immutable && next !== "error") {
        table.release();
        throw new Refusal("EINVAL", `can't replace immutable target type ${immutable}`);
      }
      device.inactive?.release();
      device.inactive = table;
      return device.info();
    });
  }

  clearTable(ref: DmDeviceRef): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_TABLE_CLEAR", describeRef(ref), "", () => {
      const device = this.#device(ref);
      device.inactive?.release();
      device.inactive = undefined;
      return device.info();
    });
  }

  tableDependencies(
    ref: DmDeviceRef,
    options: { readonly inactive?: boolean } = {},
  ): Promise<readonly DevNumber[]> {
    return this.#gate.call("DM_TABLE_DEPS", describeRef(ref), "", () => {
      const table = slot(this.#device(ref), options.inactive);
      // Each one opened is put before the others (dm-table.c, dm_get_device).
      return (table?.nodes ?? []).map((node) => node.dev).toReversed();
    });
  }

  table(ref: DmDeviceRef, options: { readonly inactive?: boolean } = {}): Promise<DmTableReply> {
    return this.#gate.call("DM_TABLE_STATUS", describeRef(ref), "table", () => {
      const device = this.#device(ref);
      return reply(device, slot(device, options.inactive), (entry) => entry.target.params());
    });
  }

  tableStatus(
    ref: DmDeviceRef,
    options: { readonly inactive?: boolean; readonly noFlush?: boolean } = {},
  ): Promise<DmTableReply> {
    return this.#gate.call("DM_TABLE_STATUS", describeRef(ref), "status", () => {
      const device = this.#device(ref);
      const noFlush = options.noFlush ?? false;
      return reply(device, slot(device, options.inactive), (entry) =>
        entry.target.status({ noFlush }),
      );
    });
  }

  listTargetVersions(): Promise<readonly DmTargetVersion[]> {
    return this.#gate.call("DM_LIST_VERSIONS", "/dev/mapper/control", "", () =>
      Object.keys(TARGET_VERSIONS).map((type) => versionOf(type)),
    );
  }

  targetVersion(type: string): Promise<DmTargetVersion> {
    return this.#gate.call("DM_GET_TARGET_VERSION", type, "", () => versionOf(type));
  }

  message(
    ref: DmDeviceRef,
    text: string,
    options: { readonly sector?: Sectors } = {},
  ): Promise<string | undefined> {
    return this.#gate.call("DM_TARGET_MSG", describeRef(ref), text, () => {
      const device = this.#device(ref);
      if (text.trim().length === 0) throw new Refusal("EINVAL", "the message is empty");
      if (text.startsWith("@")) {
        if (text.trim() !== "@cancel_deferred_remove") {
          throw new Refusal("EINVAL", "the device-mapper knows no such message");
        }
        device.deferredRemove = false;
        return undefined;
      }
      // Without a live table the kernel drops the message and reports success.
      if (device.live === undefined) return undefined;
      const target = device.live.at(Number(options.sector ?? 0n))?.target;
      if (target === undefined) throw new Refusal("EINVAL", "the sector is outside the device");
      if (target.message === undefined) {
        throw new Refusal("EINVAL", `${target.type} takes no messages`);
      }
      target.message(text);
      return undefined;
    });
  }

  setGeometry(ref: DmDeviceRef, geometry: DmGeometry): Promise<DmDeviceInfo> {
    return this.#gate.call("DM_DEV_SET_GEOMETRY", describeRef(ref), "", () => {
      const device = this.#device(ref);
      if (device.live === undefined) throw new Refusal("ENXIO", "the device has no table");
      const size = BigInt(geometry.cylinders) * BigInt(geometry.heads * geometry.sectorsPerTrack);
      if (geometry.startSectors > size) {
        throw new Refusal("EINVAL", "the start is past the geometry's own size");
      }
      return device.info();
    });
  }

  openEventPoll(): Promise<DmEventPoll> {
    return this.#gate.call("DM_DEV_ARM_POLL", "/dev/mapper/control", "", () => {
      let seen = this.#globalEvents;
      const closing = new AbortController();
      const close = async (): Promise<void> => {
        closing.abort(
          new NativeError({
            code: "NATIVE_REFUSED",
            operation: "event poll",
            object: "/dev/mapper/control",
            reason: "it is closed",
            hint: "Open a new one.",
          }),
        );
      };
      return {
        wait: async ({ timeoutMs, signal, ref = true }) => {
          closing.signal.throwIfAborted();
          const limit = new AbortController();
          const timer = setTimeout(() => limit.abort(), timeoutMs);
          if (!ref) timer.unref();
          const stops = [limit.signal, closing.signal, ...(signal === undefined ? [] : [signal])];
          try {
            const stop = AbortSignal.any(stops);
            while (this.#globalEvents === seen) await this.#pollWaiters.wait("all", stop);
          } catch (error) {
            if (signal?.aborted === true || closing.signal.aborted) throw error;
            if (limit.signal.aborted) return false;
            throw error;
          } finally {
            clearTimeout(timer);
          }
          seen = this.#globalEvents;
          return true;
        },
        close,
        [Symbol.asyncDispose]: close,
      };
    });
  }

  run(steps: readonly DmStep[], options?: DmRunOptions): Promise<DmRun> {
    return runOneByOne(this, steps, options);
  }

  /** In the kernel's order, by name. */
  all(): readonly DmDevice[] {
    return [...this.#devices].toSorted((a, b) => Buffer.compare(sortKey(a), sortKey(b)));
  }

  #device(ref: DmDeviceRef): DmDevice {
    for (const device of this.#devices) {
      if (isMeant(device, ref)) return device;
    }
    throw new Refusal("ENXIO", "there is no such dm device");
  }

  /** A rename wakes who waits for the device's events, where it has a table. */
  #renamed(device: DmDevice): DmDeviceInfo {
    if (device.live !== undefined) device.raiseEvent();
    this.#globalEvent();
    return device.info();
  }

  #destroy(device: DmDevice): void {
    this.#devices.delete(device);
    this.#machine.delete(device);
    device.dropTables();
    this.#deviceWaiters.wake(device);
  }

  #globalEvent(): void {
    this.#globalEvents += 1;
    this.#pollWaiters.wake("all");
  }
}

function isMeant(device: DmDevice, ref: DmDeviceRef): boolean {
  if ("name" in ref) return device.name === ref.name;
  if ("uuid" in ref) return device.uuid === ref.uuid;
  return sameDevNumber(device.dev, ref.dev);
}

/** The control node has this name in /dev/mapper. */
function refuseReserved(name: DmName): void {
  if (name === "control") throw new Refusal("EINVAL", "this is the name of the control node");
}

/** 20 bits (linux/kdev_t.h). */
function refuseBadMinor(minor: number | undefined): void {
  if (minor === undefined || (Number.isInteger(minor) && minor >= 0 && minor < 1 << 20)) return;
  throw new Refusal("EINVAL", `${minor} is no minor number`);
}

function slot(device: DmDevice, inactive: boolean | undefined): Table | undefined {
  return inactive === true ? device.inactive : device.live;
}

function reply(
  device: DmDevice,
  table: Table | undefined,
  params: (entry: Table["entries"][number]) => string,
): DmTableReply {
  const targets = (table?.entries ?? []).map((entry) => ({
    startSectors: sectors(entry.startSectors),
    lengthSectors: sectors(entry.lengthSectors),
    type: entry.target.type,
    // The bindings cut what the kernel leaves behind the last word.
    params: params(entry).trimEnd(),
  }));
  return { info: device.info(), targets };
}

function versionOf(type: string): DmTargetVersion {
  const version = TARGET_VERSIONS[type];
  if (version === undefined) {
    throw new Refusal("EINVAL", `${type}: unknown target type`, "NATIVE_UNSUPPORTED");
  }
  return { type, major: version[0], minor: version[1], patch: version[2] };
}

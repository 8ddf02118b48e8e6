/** The kernel's device-mapper over /dev/mapper/control: one method per command, all by the funnel. */
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { NativeError } from "../errors.ts";
import { dmNodePath, mangle } from "../names.ts";
import type { DmName, DmUuid } from "../names.ts";
import type { DevNumber } from "../dev-number.ts";
import { ERRNO, errnoOfNodeError, nativeErrorFromErrno } from "../sys/errno.ts";
import { LongWaitLane } from "../sys/long-wait.ts";
import { beginCookie, udevIsRunning } from "../udev/cookie.ts";
import type { UdevCookie, UdevRules } from "../udev/cookie.ts";
import { sectors } from "../units.ts";
import type { Sectors } from "../units.ts";
import type {
  DeviceMapper,
  DmDeviceInfo,
  DmDeviceRef,
  DmEventPoll,
  DmGeometry,
  DmListEntry,
  DmRun,
  DmRunOptions,
  DmStep,
  DmTableReply,
  DmTarget,
  DmTargetVersion,
  DmVersion,
} from "./device-mapper.ts";
import { LinuxEventPoll } from "./event-poll.ts";
import { DM_FLAG, deviceInfo, readText } from "./header.ts";
import { holdersHint } from "./holders.ts";
import { describeRef, issue, issueAll } from "./ioctl-funnel.ts";
import type { DmReply, DmRequest, Funnel } from "./ioctl-funnel.ts";
import {
  CONTROL_NODE,
  ensureControlNode,
  ensureNode,
  noDeviceMapper,
  removeNode,
} from "./nodes.ts";
import {
  checkNotReserved,
  createRequest,
  loadRequest,
  messageRequest,
  requestOf,
} from "./requests.ts";
import {
  decodeDependencies,
  decodeDeviceList,
  decodeTargetVersions,
  decodeTargets,
  encodeText,
} from "./table-codec.ts";

export interface LinuxDeviceMapperOptions {
  /** "internal" hides a device from udev's probing: pools, their metadata and data. Default: normal. */
  readonly udevRules?: (name: DmName, uuid: DmUuid | undefined) => UdevRules;
  /** How long udev's rules may take before we make the node ourselves and warn. Default 30 s. */
  readonly udevTimeoutMs?: number;
  /** What went wrong but was put right. Default: process.emitWarning. */
  readonly onWarning?: (warning: NativeError) => void;
}

const DEFAULT_UDEV_TIMEOUT_MS = 30_000;
/** Suspends, removals, messages and status calls under way at once; each may be stuck on its own device. */
const LANE_THREADS = 8;
const LANE_QUEUE = 1024;
/** DM_DEV_WAITs under way at once. Whoever watches many devices uses the event poll, which needs none. */
const EVENT_THREADS = 32;
/** Waits for udev under way at once; each ends by its limit, so the queue always moves. */
const UDEV_THREADS = 8;
/** struct hd_geometry (linux/hdreg.h) has 16, 8 and 8 bits. */
const MAX_GEOMETRY = { cylinders: 0xffff, heads: 0xff, sectorsPerTrack: 0xff } as const;

interface Control extends Funnel {
  readonly file: FileHandle;
}

export class LinuxDeviceMapper implements DeviceMapper, AsyncDisposable {
  readonly #options: LinuxDeviceMapperOptions;
  readonly #lane = new LongWaitLane({
    name: "dm commands",
    maxThreads: LANE_THREADS,
    maxQueued: LANE_QUEUE,
  });
  readonly #events = new LongWaitLane({
    name: "dm events",
    maxThreads: EVENT_THREADS,
    maxQueued: 0,
    patienceMs: 0,
  });
  readonly #udev = new LongWaitLane({
    name: "udev waits",
    maxThreads: UDEV_THREADS,
    maxQueued: LANE_QUEUE,
  });
  readonly #inFlight = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #control: Promise<Control> | undefined;

  /** Opens the control node at the first command; `LinuxDeviceMapper.open` does so at once. */
  constructor(options: LinuxDeviceMapperOptions = {}) {
    this.#options = options;
  }

  /** Rejects with NATIVE_UNSUPPORTED where the kernel has no dm, NATIVE_PERMISSION without root. */
  static async open(options: LinuxDeviceMapperOptions = {}): Promise<LinuxDeviceMapper> {
    const dm = new LinuxDeviceMapper(options);
    try {
      await dm.version();
      return dm;
    } catch (error) {
      await dm.close();
      throw error;
    }
  }

  /** Interrupts waits for events, lets the commands under way end, closes the control node. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(
      new NativeError({
        code: "NATIVE_REFUSED",
        operation: "command",
        object: CONTROL_NODE,
        reason: "this LinuxDeviceMapper is closed",
        hint: "Open a new one.",
      }),
    );
    await this.#events.close();
    // Each command's caller gets its own outcome; here only their end counts.
    await Promise.allSettled(this.#inFlight);
    await this.#lane.close();
    await this.#udev.close();
    const control = await this.#control?.catch(() => undefined); // It never opened: nothing to close.
    await control?.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async version(): Promise<DmVersion> {
    return (await this.#issue({ command: "DM_VERSION" })).header.version;
  }

  async removeAll(options: { readonly deferred?: boolean } = {}): Promise<void> {
    const before = await this.listDevices();
    await this.#issue({
      command: "DM_REMOVE_ALL",
      flags: options.deferred === true ? DM_FLAG.DEFERRED_REMOVE : 0,
    });
    if (udevIsRunning()) return;
    const left = new Set((await this.listDevices()).map((entry) => entry.name));
    for (const entry of before) if (!left.has(entry.name)) removeNode(entry.name);
  }

  async listDevices(): Promise<readonly DmListEntry[]> {
    const reply = await this.#issue({ command: "DM_LIST_DEVICES", flags: DM_FLAG.UUID });
    return decodeDeviceList(reply.data, reply.header.version);
  }

  async createDevice(
    name: DmName,
    options: { readonly uuid?: DmUuid; readonly minor?: number } = {},
  ): Promise<DmDeviceInfo> {
    const { uuid, minor } = options;
    const reply = await this.#issue({
      ...createRequest(name, uuid),
      ...(minor === undefined ? {} : { dev: { major: 0, minor }, flags: DM_FLAG.PERSISTENT_DEV }),
    });
    // Only the resume makes udev act; until then there is no node under udev either.
    return deviceInfo(reply.header);
  }

  async removeDevice(
    device: DmDeviceRef,
    options: { readonly deferred?: boolean } = {},
  ): Promise<"removed" | "deferred"> {
    const request: DmRequest = {
      command: "DM_DEV_REMOVE",
      device,
      flags: options.deferred === true ? DM_FLAG.DEFERRED_REMOVE : 0,
    };
    // The reply no longer knows the name by which the node goes away.
    const present = await this.deviceStatus(device);
    const reply = await this.#change(request, present);
    if ((reply.header.flags & DM_FLAG.DEFERRED_REMOVE) !== 0) return "deferred";
    removeNode(present.name);
    return "removed";
  }

  async renameDevice(device: DmDeviceRef, name: DmName): Promise<DmDeviceInfo> {
    checkNotReserved("DM_DEV_RENAME", name);
    const before = await this.deviceStatus(device);
    // The kernel looks the device up by name only (dm-ioctl.c, dm_hash_rename).
    await this.#change(
      {
        command: "DM_DEV_RENAME",
        device: { name: before.name },
        payload: encodeText(mangle(name)),
      },
      before,
    );
    const info = await this.deviceStatus({ dev: before.dev });
    removeNode(before.name);
    if (info.hasLiveTable) this.#settleNode(info, name);
    return info;
  }

  async setUuid(device: DmDeviceRef, uuid: DmUuid): Promise<DmDeviceInfo> {
    const before = await this.deviceStatus(device);
    await this.#issue({
      command: "DM_DEV_RENAME",
      device: { name: before.name },
      flags: DM_FLAG.UUID,
      payload: encodeText(mangle(uuid)),
    });
    return this.deviceStatus({ dev: before.dev });
  }

  async suspend(
    device: DmDeviceRef,
    options: { readonly noFlush?: boolean; readonly skipLockFs?: boolean } = {},
  ): Promise<DmDeviceInfo> {
    const flags = DM_FLAG.SUSPEND | suspendFlags(options);
    return deviceInfo((await this.#issue({ command: "DM_DEV_SUSPEND", device, flags })).header);
  }

  async resume(
    device: DmDeviceRef,
    options: { readonly noFlush?: boolean; readonly skipLockFs?: boolean } = {},
  ): Promise<DmDeviceInfo> {
    const reply = await this.#change({
      command: "DM_DEV_RESUME",
      device,
      flags: suspendFlags(options),
    });
    const info = deviceInfo(reply.header);
    if (info.hasLiveTable) this.#settleNode(info, info.name);
    return info;
  }

  async deviceStatus(device: DmDeviceRef): Promise<DmDeviceInfo> {
    return deviceInfo((await this.#issue({ command: "DM_DEV_STATUS", device })).header);
  }

  /**
   * DM_DEV_WAIT on a thread of its own, 32 at most (then NATIVE_REFUSED: use the event poll).
   * An abort interrupts the system call by a signal to that thread. Status is read with noflush:
   * a sick pool can't hold it.
   */
  async waitEvent(
    device: DmDeviceRef,
    options: { readonly eventNr: number; readonly signal?: AbortSignal },
  ): Promise<DmTableReply> {
    const { eventNr, signal } = options;
    for (;;) {
      try {
        const reply = await this.#issue({
          command: "DM_DEV_WAIT",
          device,
          eventNr,
          flags: DM_FLAG.NOFLUSH,
          ...(signal === undefined ? {} : { signal }),
        });
        return tableReply(reply);
      } catch (error) {
        // A signal that was not our abort: wait on.
        if (!(error instanceof NativeError && error.errno === ERRNO.EINTR)) throw error;
      }
    }
  }

  async loadTable(
    device: DmDeviceRef,
    table: readonly DmTarget[],
    options: { readonly readOnly?: boolean } = {},
  ): Promise<DmDeviceInfo> {
    const reply = await this.#issue(loadRequest(device, table, options.readOnly === true));
    return deviceInfo(reply.header);
  }

  async clearTable(device: DmDeviceRef): Promise<DmDeviceInfo> {
    return deviceInfo((await this.#issue({ command: "DM_TABLE_CLEAR", device })).header);
  }

  async tableDependencies(
    device: DmDeviceRef,
    options: { readonly inactive?: boolean } = {},
  ): Promise<readonly DevNumber[]> {
    const reply = await this.#issue({
      command: "DM_TABLE_DEPS",
      device,
      flags: inactiveFlag(options),
    });
    return decodeDependencies(reply.data);
  }

  async table(
    device: DmDeviceRef,
    options: { readonly inactive?: boolean } = {},
  ): Promise<DmTableReply> {
    const flags = DM_FLAG.STATUS_TABLE | DM_FLAG.NOFLUSH | inactiveFlag(options);
    return tableReply(await this.#issue({ command: "DM_TABLE_STATUS_TABLE", device, flags }));
  }

  async tableStatus(
    device: DmDeviceRef,
    options: { readonly inactive?: boolean; readonly noFlush?: boolean } = {},
  ): Promise<DmTableReply> {
    const noFlush = options.noFlush === true;
    const reply = await this.#issue({
      command: noFlush ? "DM_TABLE_STATUS_NOFLUSH" : "DM_TABLE_STATUS",
      device,
      flags: inactiveFlag(options) | (noFlush ? DM_FLAG.NOFLUSH : 0),
    });
    return tableReply(reply);
  }

  async listTargetVersions(): Promise<readonly DmTargetVersion[]> {
    return decodeTargetVersions((await this.#issue({ command: "DM_LIST_VERSIONS" })).data);
  }

  async targetVersion(type: string): Promise<DmTargetVersion> {
    const object = `target type ${JSON.stringify(type)}`;
    const missing = (cause?: unknown): NativeError =>
      new NativeError({
        code: "NATIVE_UNSUPPORTED",
        operation: "DM_GET_TARGET_VERSION",
        object,
        reason: "this kernel has no such target, or its module is not loaded",
        hint: `Load its module: modprobe dm-${type}.`,
        cause,
      });
    let versions: readonly DmTargetVersion[];
    try {
      const request: DmRequest = { command: "DM_GET_TARGET_VERSION", object, rawName: type };
      versions = decodeTargetVersions((await this.#issue(request)).data);
    } catch (error) {
      if (!(error instanceof NativeError)) throw error;
      if (error.errno === ERRNO.EINVAL) throw missing(error);
      if (error.code !== "NATIVE_UNSUPPORTED") throw error;
      versions = await this.listTargetVersions();
    }
    const found = versions.find((version) => version.type === type);
    if (found === undefined) throw missing();
    return found;
  }

  async message(
    device: DmDeviceRef,
    text: string,
    options: { readonly sector?: Sectors } = {},
  ): Promise<string | undefined> {
    const reply = await this.#issue(messageRequest(device, text, options.sector ?? sectors(0)));
    if ((reply.header.flags & DM_FLAG.DATA_OUT) === 0) return undefined;
    return readText(reply.data, 0, reply.data.length);
  }

  async setGeometry(device: DmDeviceRef, geometry: DmGeometry): Promise<DmDeviceInfo> {
    checkGeometry(describeRef(device), geometry);
    const { cylinders, heads, sectorsPerTrack, startSectors } = geometry;
    await this.#issue({
      command: "DM_DEV_SET_GEOMETRY",
      device,
      payload: encodeText(`${cylinders} ${heads} ${sectorsPerTrack} ${startSectors}`),
    });
    // The kernel answers this command with nothing at all.
    return this.deviceStatus(device);
  }

  async openEventPoll(): Promise<DmEventPoll> {
    const { lane, events } = await this.#open();
    return LinuxEventPoll.open({ lane, events }, this.#closing.signal);
  }

  async run(steps: readonly DmStep[], options: DmRunOptions = {}): Promise<DmRun> {
    const control = await this.#open();
    /** By the step's place: those that nobody has ended yet. */
    const cookies = new Map<number, UdevCookie>();
    let unsettled: DmRun | undefined;
    try {
      await this.#beginCookies(steps, cookies);
      const requests = steps.map((step, index) =>
        requestOf(step, cookies.get(index)?.eventNr ?? 0),
      );
      const { replies, failure, unsynced } = await this.#tracked(
        issueAll(control, requests, options.syncFirst),
      );
      const infos = replies.map(({ header }, index) =>
        steps[index]?.command === "message" ? undefined : deviceInfo(header),
      );
      const run: DmRun = { infos, failure, ...(unsynced === undefined ? {} : { unsynced }) };
      options.onIssued?.(run);
      for (const [index, { header }] of replies.entries()) {
        const [step, info, cookie] = [steps[index], infos[index], cookies.get(index)];
        if (step?.command !== "resume" || info === undefined) continue;
        cookies.delete(index);
        if (cookie !== undefined) await this.#awaitUdev(cookie, header.flags, step);
        if (!info.hasLiveTable) continue;
        try {
          this.#settleNode(info, info.name);
        } catch (error) {
          if (!(error instanceof NativeError)) throw error;
          unsettled ??= { infos: infos.slice(0, index), failure: error };
        }
      }
      return unsettled ?? run;
    } finally {
      for (const cookie of cookies.values()) cookie.abandon();
    }
  }

  /** None where no udevd runs. The caller ends or abandons those that were begun, also where this rejects. */
  async #beginCookies(steps: readonly DmStep[], cookies: Map<number, UdevCookie>): Promise<void> {
    if (!udevIsRunning()) return;
    for (const [index, step] of steps.entries()) {
      if (step.command !== "resume") continue;
      const device = await this.#namesOf(step.device, steps.slice(0, index));
      if (device !== undefined) cookies.set(index, this.#cookie(device.name, device.uuid));
    }
  }

  /** Of a device that one of these steps makes, or that is there; undefined: the kernel has it to refuse. */
  async #namesOf(
    device: DmDeviceRef,
    before: readonly DmStep[],
  ): Promise<{ readonly name: DmName; readonly uuid: DmUuid | undefined } | undefined> {
    for (const step of before) {
      if (step.command !== "create") continue;
      const { name, uuid } = step;
      if ("name" in device ? device.name === name : "uuid" in device && device.uuid === uuid)
        return { name, uuid };
    }
    try {
      return await this.deviceStatus(device);
    } catch (error) {
      if (error instanceof NativeError && error.code === "NATIVE_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Closing waits for it. */
  async #tracked<T>(call: Promise<T>): Promise<T> {
    this.#inFlight.add(call);
    try {
      return await call;
    } finally {
      this.#inFlight.delete(call);
    }
  }

  async #issue(request: DmRequest): Promise<DmReply> {
    const control = await this.#open();
    try {
      return await this.#tracked(issue(control, request));
    } catch (error) {
      throw await this.#explain(error, request);
    }
  }

  /**
   * A command that makes udev act: waits for its rules, or where no udevd runs, for nothing. `present`: what
   * the caller knows of the device, which is asked for otherwise.
   */
  async #change(request: DmRequest, present?: DmDeviceInfo): Promise<DmReply> {
    if (!udevIsRunning() || request.device === undefined) return this.#issue(request);
    const { name, uuid } = present ?? (await this.deviceStatus(request.device));
    const cookie = this.#cookie(name, uuid);
    let reply: DmReply;
    try {
      reply = await this.#issue({ ...request, eventNr: cookie.eventNr });
    } catch (error) {
      cookie.abandon();
      throw error;
    }
    await this.#awaitUdev(cookie, reply.header.flags, {
      command: request.command,
      device: request.device,
    });
    return reply;
  }

  get #udevTimeoutMs(): number {
    return this.#options.udevTimeoutMs ?? DEFAULT_UDEV_TIMEOUT_MS;
  }

  #cookie(name: DmName, uuid: DmUuid | undefined): UdevCookie {
    const rules = this.#options.udevRules?.(name, uuid) ?? "normal";
    return beginCookie(this.#udev, rules, this.#udevTimeoutMs);
  }

  /** Until udev's rules for a change that is done are through, or the time is up: then it is told. */
  async #awaitUdev(
    cookie: UdevCookie,
    flags: number,
    change: { readonly command: string; readonly device: DmDeviceRef },
  ): Promise<void> {
    if (await cookie.finish((flags & DM_FLAG.UEVENT_GENERATED) !== 0)) return;
    this.#warn(
      new NativeError({
        code: "NATIVE_TIMEOUT",
        operation: change.command,
        object: describeRef(change.device),
        reason: `udev's rules did not end within ${this.#udevTimeoutMs} ms; the change itself is done`,
        hint: "See to udevd (systemctl status systemd-udevd); the device's node is ours until then.",
      }),
    );
  }

  /** Without udev the node is ours to make; with udev it is checked, for rules can be missing. */
  #settleNode(info: DmDeviceInfo, name: DmName): void {
    const made = ensureNode(name, info.dev);
    if (made && udevIsRunning()) {
      this.#warn(
        new NativeError({
          code: "NATIVE_NOT_FOUND",
          operation: "check of a device node",
          object: name,
          reason: "udev had made none under /dev/mapper, so it was made here",
          hint: "Install udev's rules for dm (package dmsetup); udev also keeps off where another file lay in the way.",
        }),
      );
    }
  }

  #warn(warning: NativeError): void {
    if (this.#options.onWarning === undefined) process.emitWarning(warning);
    else this.#options.onWarning(warning);
  }

  /** EBUSY of a removal: names who holds the device. */
  async #explain(error: unknown, request: DmRequest): Promise<unknown> {
    const isBusy = error instanceof NativeError && error.code === "NATIVE_BUSY";
    if (!isBusy || request.command !== "DM_DEV_REMOVE" || request.device === undefined)
      return error;
    try {
      const { dev, name } = await this.deviceStatus(request.device);
      const nodes = [dmNodePath(name), `/dev/dm-${dev.minor}`];
      return nativeErrorFromErrno({
        operation: error.operation,
        object: error.object,
        errno: error.errno,
        hint: await holdersHint(dev, nodes),
      });
    } catch {
      // The device went away meanwhile: the first error says what there is to say.
      return error;
    }
  }

  #open(): Promise<Control> {
    const { signal } = this.#closing;
    if (signal.aborted) return Promise.reject(signal.reason as NativeError);
    this.#control ??= this.#openControl();
    return this.#control;
  }

  async #openControl(): Promise<Control> {
    try {
      ensureControlNode();
      // Node opens with O_CLOEXEC: no child inherits it.
      const file = await open(CONTROL_NODE, "r+");
      return { file, fd: file.fd, lane: this.#lane, events: this.#events };
    } catch (error) {
      // The next command tries again: the module may be loaded by then.
      this.#control = undefined;
      if (error instanceof NativeError) throw error;
      const errno = errnoOfNodeError(error);
      // A node without a driver behind it.
      if (errno === ERRNO.ENXIO || errno === ERRNO.ENODEV) throw noDeviceMapper(error);
      throw nativeErrorFromErrno({ operation: "open", object: CONTROL_NODE, errno, cause: error });
    }
  }
}

function suspendFlags(options: {
  readonly noFlush?: boolean;
  readonly skipLockFs?: boolean;
}): number {
  return (
    (options.noFlush === true ? DM_FLAG.NOFLUSH : 0) |
    (options.skipLockFs === true ? DM_FLAG.SKIP_LOCKFS : 0)
  );
}

function inactiveFlag(options: { readonly inactive?: boolean }): number {
  return options.inactive === true ? DM_FLAG.QUERY_INACTIVE_TABLE : 0;
}

function tableReply(reply: DmReply): DmTableReply {
  // Without a table the kernel writes no data; target_count alone is not proof of any.
  const count = reply.data.length === 0 ? 0 : reply.header.targetCount;
  return { info: deviceInfo(reply.header), targets: decodeTargets(reply.data, count) };
}

function checkGeometry(object: string, geometry: DmGeometry): void {
  for (const key of ["cylinders", "heads", "sectorsPerTrack"] as const) {
    const value = geometry[key];
    if (Number.isInteger(value) && value >= 0 && value <= MAX_GEOMETRY[key]) continue;
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "DM_DEV_SET_GEOMETRY",
      object,
      reason: `${key} is ${value}`,
      hint: `Use an integer from 0 to ${MAX_GEOMETRY[key]}.`,
    });
  }
}

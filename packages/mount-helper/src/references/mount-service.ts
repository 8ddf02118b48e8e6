/**
 * Mounting by reference: the first holder activates and mounts a device, the last unmounts and
 * deactivates it. A device may be mounted in several places; each has its own holders, and the device
 * is active while one of them is left.
 *
 * The caller runs the operations on one device one after another (`KeyedQueue`).
 */
import { randomUUID } from "node:crypto";
import type { Device, OpenNamespace } from "@thinpool/thinpool";
import { deviceDmUuid } from "@thinpool/thinpool";
import { primaryGroupOf } from "../accounts.ts";
import { RequestError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import { checkFolderPath } from "../mounts/caller-folder.ts";
import type { BlockNodes } from "../mounts/block-nodes.ts";
import type { MountFolders } from "../mounts/folders.ts";
import type { Mounter } from "../mounts/mounter.ts";
import type { MountRules, RulesFor } from "../mounts/rules.ts";
import type { Clock, ClockReading } from "./deadline.ts";
import type { Ephemerals } from "./ephemerals.ts";
import type { Holder, Reference } from "./holder.ts";
import { MIN_LEASE_MS, carryOver, hasEnded, newLease, renew, timeLeftMs } from "./holder.ts";
import type { MountForm, MountRecord, MountState } from "./record.ts";
import { acquire, end, release } from "./record.ts";
import type { Found, Records } from "./records.ts";
import { Retries } from "./retries.ts";
import type { Sessions } from "./sessions.ts";
import type { MountSteps } from "./steps.ts";

export interface HeldReference {
  readonly reference: string;
  readonly holderUid: number;
  readonly holder: Holder["type"];
  /** A lease's: how much of its time is left. */
  readonly leaseLeftMs: number | undefined;
  readonly device: string;
  readonly path: string;
  /** `path` is a block device. */
  readonly block: boolean;
  readonly readOnly: boolean;
  /** "absent": after a reboot, until it is mounted again. */
  readonly state: MountState;
  /** References that keep the device active, this one included. */
  readonly count: number;
}

/** Who asks. */
export interface Claimant {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

export type HolderWish =
  | { readonly type: "session"; readonly session: string }
  | { readonly type: "lease"; readonly ttlMs: number }
  | { readonly type: "permanent" };

export interface MountWish {
  readonly holder: HolderWish;
  /** A folder of the caller's own; undefined: the daemon's place for the device. */
  readonly folder?: string | undefined;
  /** The one that the folder is in; undefined: the daemon's own. */
  readonly namespace?: OpenNamespace | undefined;
  readonly form?: Partial<MountForm> | undefined;
  /** Not mounted, but as a block device of the caller's. */
  readonly block?: boolean | undefined;
  /** In the caller's own place and shown as his, though the device is another's: by a token. */
  readonly asOwn?: boolean | undefined;
}

/** How many there are of each, for the metrics. */
export interface Census {
  readonly references: Readonly<Record<Holder["type"], number>>;
  readonly mounts: Readonly<Partial<Record<MountState, number>>>;
  readonly ephemerals: number;
}

export interface MountServiceParts {
  readonly poolUuid: string;
  readonly records: Records;
  readonly steps: MountSteps;
  readonly sessions: Sessions;
  readonly ephemerals: Ephemerals;
  readonly mounter: Mounter;
  readonly folders: MountFolders;
  readonly nodes: BlockNodes;
  readonly rulesFor: RulesFor;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Something may be due sooner than before. */
  readonly onChange?: () => void;
}

export class MountService {
  readonly #parts: MountServiceParts;
  readonly #retries: Retries;
  /** Folders that are being mounted on: nobody else may choose them meanwhile. */
  readonly #taken = new Set<string>();

  constructor(parts: MountServiceParts) {
    this.#parts = parts;
    this.#retries = new Retries(parts.clock);
  }

  /**
   * At the start: reads the records, ends what has ended meanwhile, and brings each in line with the
   * kernel. Failures are logged, and tried again by `tend`.
   */
  async recover(): Promise<void> {
    const { records, sessions, ephemerals, clock } = this.#parts;
    records.load();
    sessions.load();
    ephemerals.load();
    const now = clock.read();
    for (const record of records.all()) {
      const references = record.references.map((reference) => carryOver(reference, now));
      const moved = references.some((each, index) => each !== record.references[index]);
      if (moved) await records.save({ ...record, references });
    }
    for (const name of this.#names()) await this.tend(name);
    for (const name of ephemerals.due((id) => sessions.isAlive(id))) await this.tend(name);
    await this.#parts.steps.deactivateHalfGrown();
    await this.#reportStrangers();
    await this.#sweepNodes();
  }

  /**
   * One more reference to the device, for the caller. Where that of the id is there already it is the same
   * call again: then its holder is who asks now, from now on. The id is asked for once it is clear which are.
   */
  async create(
    claimant: Claimant,
    device: Device,
    wish: MountWish,
    newId: () => string = randomUUID,
  ): Promise<HeldReference> {
    const { records, steps, sessions, ephemerals, onChange } = this.#parts;
    const rules = this.#parts.rulesFor(claimant);
    const holder = this.#holder(wish.holder, rules, device);
    const failures = await this.#settleDevice(device.uuid);
    const id = newId();
    const present = records.find(id);
    if (present !== undefined) return this.#holdAgain(present, holder, failures);
    const reference = { id, holderUid: claimant.uid, holder, createdAtMs: Date.now() };
    const fresh = await this.#newMount(claimant, device, wish, rules);
    const current = this.#currentAt(fresh);
    if (current?.state === "absent") throw failures.get(current.id);
    if (wish.holder.type === "session") sessions.keep(wish.holder.session);
    const acquired = acquire(current, reference, fresh);
    let record = acquired.record;
    // Nothing was awaited since its place was looked at: from here on it is taken, by the record or by `#taken`.
    if (acquired.step === "share") await records.save(record);
    else {
      const { uid, gid, groups = [] } = claimant;
      const { namespace } = wish;
      const rights = { ids: { uid, gid, groups }, roots: rules.folderRoots, namespace };
      const place = placeOf(fresh);
      this.#taken.add(place);
      try {
        record = await steps.mount(device, record, rights);
      } finally {
        this.#taken.delete(place);
      }
    }
    ephemerals.mounted(device);
    onChange?.();
    return this.#describe(record, reference);
  }

  /** Gives the reference up. BUSY where it is the last and a process works in the mount: then it stays. */
  async release(
    id: string,
  ): Promise<{ readonly device: string; readonly count: number } | undefined> {
    const { records, steps } = this.#parts;
    const held = records.find(id);
    if (held === undefined) return undefined;
    const { record } = held;
    const { deviceName: device, deviceUuid } = record;
    if (record.state !== "mounted" && record.state !== "absent") {
      // Something went wrong half way: settling ends with the device not mounted, or mounted as before.
      await steps.settle(record);
      const gone = records.find(id) === undefined;
      return gone ? { device, count: this.#countOfDevice(deviceUuid) } : this.release(id);
    }
    const released = release(record, id);
    await records.save(released.record);
    if (released.step === "unmount") await steps.unmount(released.record);
    if (released.step === "forget") await steps.deactivateAndForget(released.record);
    if (records.get(record.id) === undefined) this.#retries.done(record.id);
    await this.#collect(device);
    return { device, count: this.#countOfDevice(deviceUuid) };
  }

  /** A lease counts from now on. Undefined where there is no such lease. */
  async renew(id: string, ttlMs: number | undefined): Promise<HeldReference | undefined> {
    const { records, clock, rulesFor, onChange } = this.#parts;
    const held = records.find(id);
    if (held === undefined) return undefined;
    const { record, reference } = held;
    const rules = rulesFor({ uid: reference.holderUid });
    if (ttlMs !== undefined) checkTtl(ttlMs, rules, record.deviceName);
    const { holder } = reference;
    // What it was given may be more than the policy allows by now.
    const before = holder.type === "lease" ? Math.min(holder.ttlMs, rules.maxLeaseMs) : undefined;
    const renewed = renew(reference, ttlMs ?? before, clock.read());
    if (renewed === undefined) return undefined;
    const references = record.references.map((each) => (each.id === id ? renewed : each));
    const changed = { ...record, references };
    await records.save(changed);
    onChange?.();
    return this.#describe(changed, renewed);
  }

  /**
   * Refuses while it is mounted, in the name of what was asked for; what an earlier failure left of its
   * records is settled. A record goes by the device's name, so a rename waits for those that are being ended, too.
   */
  async assertNotMounted(device: Device, verb: "remove" | "rename" | "revert"): Promise<void> {
    await this.#settleDevice(device.uuid);
    const all = this.#parts.records.ofDevice(device.uuid);
    const left = verb === "rename" ? all : all.filter(isThere);
    if (left.length === 0) return;
    const count = this.#countOfDevice(device.uuid);
    const isMounted = left.some(isThere);
    const reason =
      count > 0
        ? `it is mounted, and ${count} ${count === 1 ? "reference holds" : "references hold"} it`
        : isMounted
          ? "nobody holds its mount any more, but a process still works in it"
          : "it is not mounted any more, but a process still has it open";
    throw new RequestError({
      code: "BUSY",
      operation: `device.${verb}`,
      object: device.name,
      reason,
      hint: isMounted
        ? `Release its mounts, then ${verb} it.`
        : `End that process, which fuser -v shows; then ${verb} it.`,
    });
  }

  /** The device is no more: nothing is left to be done for it. */
  forget(device: Device): void {
    const { records, ephemerals } = this.#parts;
    for (const record of records.ofDevice(device.uuid)) records.forget(record);
    ephemerals.forget(device);
  }

  /**
   * In the turn of the device's name: ends the references that are over, and goes on with what is left
   * to be done for it. Never rejects: what fails is logged and tried again later.
   */
  async tend(name: string): Promise<void> {
    const { records } = this.#parts;
    for (const record of records.all().filter(({ deviceName }) => deviceName === name)) {
      try {
        await this.#tendRecord(record);
      } catch (error) {
        this.#failed(record, error);
      }
    }
    await this.#collect(name);
  }

  /** The names of the devices for which something is to be done now. */
  due(): readonly string[] {
    const { records, ephemerals, sessions, clock } = this.#parts;
    // One look at the clocks for all: each costs as much as all the rest of a record's.
    const now = clock.read();
    const names = records
      .all()
      .filter((record) => this.#ended(record, now).size > 0 || this.#isToBeRetried(record))
      .map(({ deviceName }) => deviceName);
    return [...new Set([...names, ...ephemerals.due((id) => sessions.isAlive(id, now))])];
  }

  /** Milliseconds until something may be due; undefined: nothing is foreseen. */
  nextDueMs(): number | undefined {
    const { records, sessions, clock } = this.#parts;
    const now = clock.read();
    const waits = records
      .all()
      .flatMap((record) => [
        ...record.references.map((reference) => timeLeftMs(reference, now)),
        isUnfinished(record) ? this.#retries.waitMs(record.id) : undefined,
      ]);
    const known = [...waits, sessions.nextEndMs()].filter((wait) => wait !== undefined);
    return known.length === 0 ? undefined : Math.max(0, Math.min(...known));
  }

  /** Gives up all references, for a tear-down. What can't be unmounted stays, and is the error. */
  async releaseAll(): Promise<void> {
    const { records, steps } = this.#parts;
    const failures: unknown[] = [];
    const attempt = async (work: () => Promise<unknown>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        failures.push(error);
      }
    };
    for (const { references } of records.all()) {
      for (const { id } of references) await attempt(() => this.release(id));
    }
    for (const record of records.all()) {
      if (record.state === "releasing") await attempt(() => steps.takeDown(record));
      else if (record.references.length === 0) await attempt(() => steps.settle(record));
    }
    await this.#sweepNodes();
    if (failures.length > 0)
      throw new AggregateError(failures, "some mounts could not be released");
  }

  holderOf(id: string): number | undefined {
    return this.#parts.records.find(id)?.reference.holderUid;
  }

  deviceOf(id: string): string | undefined {
    return this.#parts.records.find(id)?.record.deviceName;
  }

  /** How many references the user holds, and how many of them by leases. */
  countsOf(uid: number): { readonly references: number; readonly leases: number } {
    const counts = { references: 0, leases: 0 };
    for (const record of this.#parts.records.all()) {
      for (const { holderUid, holder } of record.references) {
        if (holderUid !== uid) continue;
        counts.references += 1;
        if (holder.type === "lease") counts.leases += 1;
      }
    }
    return counts;
  }

  get(id: string): HeldReference | undefined {
    const held = this.#parts.records.find(id);
    return held && this.#describe(held.record, held.reference);
  }

  list(): readonly HeldReference[] {
    const { records, clock } = this.#parts;
    const now = clock.read();
    return records
      .all()
      .flatMap((record) => record.references.map((each) => this.#describe(record, each, now)));
  }

  /** True for a device whose mount has no holder and is still busy. */
  isReleasing(deviceUuid: string): boolean {
    const { records } = this.#parts;
    return records.ofDevice(deviceUuid).some(({ state }) => state === "releasing");
  }

  census(): Census {
    const references = { session: 0, lease: 0, permanent: 0 };
    const mounts: Partial<Record<MountState, number>> = { mounted: 0, releasing: 0 };
    for (const record of this.#parts.records.all()) {
      mounts[record.state] = (mounts[record.state] ?? 0) + 1;
      for (const { holder } of record.references) references[holder.type] += 1;
    }
    return { references, mounts, ephemerals: this.#parts.ephemerals.size };
  }

  async #tendRecord(record: MountRecord): Promise<void> {
    const { records, steps, logger } = this.#parts;
    const ended = this.#ended(record, this.#parts.clock.read());
    if (ended.size > 0) {
      const over = end(record, ended);
      await records.save(over.record);
      // Its time to be busy in begins now, whatever was tried in vain before somebody took it up.
      if (over.step === "release") this.#retries.done(record.id);
      const fields = { device: record.deviceName, references: ended.size, left: over.step };
      logger.log("info", "references-ended", fields);
    }
    const current = records.get(record.id);
    if (current === undefined) return;
    await steps.settle(current);
    const settled = records.get(record.id);
    if (settled?.state === "releasing") {
      const lazy =
        settled.lazyAfterMs !== undefined &&
        this.#retries.triedForMs(record.id) >= settled.lazyAfterMs;
      if (lazy) {
        const fields = { device: record.deviceName, path: record.target };
        logger.log("warn", "busy-mount-taken-off-lazily", fields);
      }
      await steps.takeDown(settled, { lazy });
    }
    if (records.get(record.id)?.state === "deactivating") this.#retries.failed(record.id);
    else this.#retries.done(record.id);
  }

  #failed(record: MountRecord, error: unknown): void {
    const waitMs = this.#retries.failed(record.id);
    const state = this.#parts.records.get(record.id)?.state ?? record.state;
    const fields = { device: record.deviceName, state, waitMs, error: errorText(error) };
    this.#parts.logger.log("warn", "to-be-tried-again", fields);
  }

  #ended(record: MountRecord, now: ClockReading): ReadonlySet<string> {
    const { sessions } = this.#parts;
    const over = record.references.filter((each) =>
      hasEnded(each, now, (session) => sessions.isAlive(session, now)),
    );
    return new Set(over.map(({ id }) => id));
  }

  #isToBeRetried(record: MountRecord): boolean {
    return isUnfinished(record) && this.#retries.waitMs(record.id) <= 0;
  }

  /** An ephemeral clone goes with its last reference. */
  async #collect(name: string): Promise<void> {
    const { ephemerals, sessions } = this.#parts;
    await ephemerals.collect(name, (session) => sessions.isAlive(session));
  }

  /** Nobody else has a turn of the device; it is settled. */
  async #holdAgain(
    { record, reference }: Found,
    holder: Holder,
    failures: ReadonlyMap<string, unknown>,
  ): Promise<HeldReference> {
    const { records, sessions, onChange } = this.#parts;
    if (record.state === "absent") throw failures.get(record.id);
    if (holder.type === "session") sessions.keep(holder.session);
    const held = { ...reference, holder };
    const references = record.references.map((each) => (each.id === held.id ? held : each));
    const again = { ...record, references };
    await records.save(again);
    onChange?.();
    return this.#describe(again, held);
  }

  /** Why those mounts that are still to come back can't, by their records' ids: `tend` goes on with them. */
  async #settleDevice(deviceUuid: string): Promise<ReadonlyMap<string, unknown>> {
    const { records, steps } = this.#parts;
    const failures = new Map<string, unknown>();
    for (const record of records.ofDevice(deviceUuid)) {
      try {
        await steps.settle(record);
      } catch (error) {
        if (records.get(record.id)?.state !== "absent") throw error;
        failures.set(record.id, error);
      }
    }
    return failures;
  }

  #holder(wish: HolderWish, rules: MountRules, device: Device): Holder {
    switch (wish.type) {
      case "session":
        return wish;
      case "lease":
        checkTtl(wish.ttlMs, rules, device.name);
        return newLease(wish.ttlMs, this.#parts.clock.read());
      case "permanent":
        if (rules.permanent) return wish;
        throw new RequestError({
          code: "FORBIDDEN",
          operation: "mount.create",
          object: device.name,
          reason: "a permanent mount is an administrator's to make",
          hint: "Hold it by your session or by a lease.",
        });
    }
  }

  async #newMount(
    claimant: Claimant,
    device: Device,
    wish: MountWish,
    rules: MountRules,
  ): Promise<Omit<MountRecord, "state" | "mountId" | "dev" | "references">> {
    const { folders, nodes, poolUuid, clock } = this.#parts;
    const { folder, block = false, form = {} } = wish;
    if (folder !== undefined) checkFolderPath(folder);
    if (block && !rules.blockDevices) {
      throw new RequestError({
        code: "FORBIDDEN",
        operation: "device.activate",
        object: device.name,
        reason: "the policy lets you mount devices, not have them as block devices",
        hint: "Ask your administrator for a rule with mount.blockDevices.",
      });
    }
    const uid = wish.asOwn === true ? claimant.uid : device.ownerUid;
    return {
      id: randomUUID(),
      deviceUuid: device.uuid,
      deviceName: device.name,
      owner: { uid, gid: uid === claimant.uid ? claimant.gid : await groupOf(uid) },
      dmUuid: deviceDmUuid(poolUuid, device.uuid),
      place: block ? "block" : folder === undefined ? "own" : "folder",
      target: block
        ? nodes.pathOf(uid, device.name)
        : (folder ?? folders.targetOf(uid, device.name)),
      namespace: wish.namespace?.inode,
      form: {
        readOnly: form.readOnly ?? false,
        noExec: rules.noExec || (form.noExec ?? false),
        noSymFollow: rules.noSymFollow || (form.noSymFollow ?? false),
        ownership: form.ownership ?? "mapped",
      },
      lazyAfterMs: rules.lazyAfterMs,
      bootId: clock.read().bootId,
    };
  }

  /** The mount that the wish is one more reference to, if there is one; refuses what does not go together. */
  #currentAt(fresh: Omit<MountRecord, "state" | "mountId" | "dev" | "references">) {
    const { records } = this.#parts;
    const { deviceName: object } = fresh;
    const place = placeOf(fresh);
    const refuse = (reason: string, hint: string): never => {
      throw new RequestError({ code: "BUSY", operation: "mount.create", object, reason, hint });
    };
    const there = records.all().filter(isThere);
    const current = there.find((record) => placeOf(record) === place);
    const other = current !== undefined && current.deviceUuid !== fresh.deviceUuid;
    if (other || this.#taken.has(place)) {
      return refuse("another device is mounted in that folder", "Take another folder.");
    }
    const beside = there.find(({ deviceUuid }) => deviceUuid === fresh.deviceUuid);
    if (beside !== undefined && (beside.place === "block") !== (fresh.place === "block")) {
      // Two that write past each other would ruin the filesystem.
      const how = beside.place === "block" ? "in use as a block device" : "mounted";
      return refuse(`it is ${how} already`, "Release that first, or take a clone of it.");
    }
    if (beside !== undefined && beside.form.readOnly !== fresh.form.readOnly) {
      const how = beside.form.readOnly ? "read-only" : "writable";
      return refuse(`it is mounted ${how} already`, "A device is mounted in one way at a time.");
    }
    if (current !== undefined && !sameForm(current.form, fresh.form)) {
      return refuse(
        "it is mounted there already, with other options",
        "Release that mount, or ask for it with the same options.",
      );
    }
    return current;
  }

  #describe(
    record: MountRecord,
    reference: Reference,
    now: ClockReading = this.#parts.clock.read(),
  ): HeldReference {
    return {
      reference: reference.id,
      holderUid: reference.holderUid,
      holder: reference.holder.type,
      leaseLeftMs: timeLeftMs(reference, now),
      device: record.deviceName,
      path: record.target,
      block: record.place === "block",
      readOnly: record.form.readOnly,
      state: record.state,
      count: this.#countOfDevice(record.deviceUuid),
    };
  }

  #countOfDevice(deviceUuid: string): number {
    const records = this.#parts.records.ofDevice(deviceUuid);
    return records.reduce((sum, { references }) => sum + references.length, 0);
  }

  #names(): readonly string[] {
    return [...new Set(this.#parts.records.all().map(({ deviceName }) => deviceName))];
  }

  /**
   * Block devices of this pool that no record knows. A record is there before its node and after it: only
   * where the records themselves were lost, or are older ones restored, is there such a node. Whoever has it
   * open keeps the device.
   */
  async #sweepNodes(): Promise<void> {
    const { records, nodes, logger } = this.#parts;
    const known = records.all().filter(isThere);
    try {
      const swept = await nodes.sweep(new Set(known.map(({ target }) => target)));
      for (const path of swept) logger.log("warn", "node-without-record-removed", { path });
    } catch (error) {
      logger.log("error", "nodes-not-swept", { error: errorText(error) });
    }
  }

  /** Mounts in the daemon's folders, or of its devices, that no record knows: left alone. */
  async #reportStrangers(): Promise<void> {
    const { records, mounter, logger } = this.#parts;
    const known = new Set(records.all().map(({ mountId }) => mountId));
    const devs = records.all().flatMap(({ dev }) => (dev === undefined ? [] : [dev]));
    for (const info of await mounter.mountsToAccountFor(new Set(devs))) {
      if (known.has(info.mountId)) continue;
      const fields = { mountId: info.mountId, path: info.mountPoint, source: info.source };
      logger.log("warn", "mount-without-record-left-alone", fields);
    }
  }
}

/** The same path in two mount namespaces is two places. */
function placeOf({ namespace, target }: Pick<MountRecord, "namespace" | "target">): string {
  return `${namespace ?? "own"} ${target}`;
}

/** False for a record of which only the device's deactivation is left. */
function isThere({ state }: MountRecord): boolean {
  return state !== "deactivating";
}

/** Something is still to be done for it, with nobody to ask for it. */
function isUnfinished({ state, references }: MountRecord): boolean {
  return state === "absent" || references.length === 0;
}

function sameForm(a: MountForm, b: MountForm): boolean {
  return (
    a.readOnly === b.readOnly &&
    a.noExec === b.noExec &&
    a.noSymFollow === b.noSymFollow &&
    a.ownership === b.ownership
  );
}

function checkTtl(ttlMs: number, { maxLeaseMs }: MountRules, object: string): void {
  if (Number.isInteger(ttlMs) && ttlMs >= MIN_LEASE_MS && ttlMs <= maxLeaseMs) return;
  throw new RequestError({
    code: "INVALID_PARAMS",
    operation: "lease",
    object,
    reason: `a lease of ${ttlMs} ms is not given: from ${MIN_LEASE_MS} to ${maxLeaseMs} ms`,
    hint: ttlMs > maxLeaseMs ? "Take a shorter one and renew it." : "Take a longer one.",
  });
}

/** The group that the mount shows as the owner's, where root mounts for another. */
async function groupOf(uid: number): Promise<number> {
  return uid === 0 ? 0 : primaryGroupOf(uid);
}

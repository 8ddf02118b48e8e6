/** One dm device: its two table slots, its state, and the I/O through its live table. */
import { type DmDeviceInfo, type DmName, type DmUuid, mangle } from "@thinpool/dm-native";
import type { DevNumber } from "@thinpool/dm-native";
import { Refusal } from "../faults.ts";
import { BlockNode, checkRange, type Machine, type Place } from "../machine.ts";
import type { ThinPool } from "../thin-pool.ts";
import type { Table } from "./table.ts";

/** The first dynamic block major that Linux gives the device-mapper. */
export const DM_MAJOR = 254;

export class DmDevice extends BlockNode {
  override readonly dev: DevNumber;
  readonly machine: Machine;
  name: DmName;
  uuid: DmUuid | undefined;
  live: Table | undefined;
  inactive: Table | undefined;
  suspended = false;
  deferredRemove = false;
  eventNr = 0;
  /** The thin pool that this device's tables share. */
  pool: ThinPool | undefined;
  readonly #held = new Map<BlockNode, number>();
  readonly #siblings: () => Iterable<DmDevice>;
  readonly #onEvent: (device: DmDevice) => void;
  readonly #onLastClose: (device: DmDevice) => void;
  readonly #onSwap: () => void;

  constructor(init: {
    readonly machine: Machine;
    readonly minor: number;
    readonly name: DmName;
    readonly uuid: DmUuid | undefined;
    readonly siblings: () => Iterable<DmDevice>;
    readonly onEvent: (device: DmDevice) => void;
    readonly onLastClose: (device: DmDevice) => void;
    /** Another table is live. */
    readonly onSwap: () => void;
  }) {
    super();
    this.machine = init.machine;
    this.dev = { major: DM_MAJOR, minor: init.minor };
    this.name = init.name;
    this.uuid = init.uuid;
    this.#siblings = init.siblings;
    this.#onEvent = init.onEvent;
    this.#onLastClose = init.onLastClose;
    this.#onSwap = init.onSwap;
  }

  siblings(): Iterable<DmDevice> {
    return this.#siblings();
  }

  raiseEvent(): void {
    this.eventNr += 1;
    this.#onEvent(this);
  }

  livePool(): ThinPool | undefined {
    return this.live?.entries[0]?.target.pool;
  }

  /** Tables of one device open what they stand on once, together (dm.c: dm_get_table_device). */
  hold(node: BlockNode): void {
    const count = this.#held.get(node) ?? 0;
    if (count === 0) node.open("device-mapper");
    this.#held.set(node, count + 1);
  }

  letGo(node: BlockNode): void {
    const count = (this.#held.get(node) ?? 0) - 1;
    this.#held.set(node, count);
    if (count > 0) return;
    this.#held.delete(node);
    node.close("device-mapper");
  }

  /** A pool that is suspended holds its thin devices still, also those that are not live yet. */
  get internallySuspended(): boolean {
    const entries = [this.live, this.inactive].flatMap((table) => table?.entries ?? []);
    return entries.some(({ target }) => target.thinOf?.suspended === true);
  }

  /** Where Linux would wait until the pool is resumed: a suspend, or a resume that has something to do. */
  refuseToWait(): void {
    if (!this.internallySuspended) return;
    throw new Refusal("EAGAIN", "its pool is suspended, and would hold this call back");
  }

  info(): DmDeviceInfo {
    return {
      name: this.name,
      uuid: this.uuid,
      dev: this.dev,
      openCount: this.openCount,
      eventNr: this.eventNr,
      targetCount: this.live?.entries.length ?? 0,
      suspended: this.suspended,
      internallySuspended: this.internallySuspended,
      readOnly: this.readOnly(),
      hasLiveTable: this.live !== undefined,
      hasInactiveTable: this.inactive !== undefined,
      deferredRemove: this.deferredRemove,
    };
  }

  suspend(): void {
    if (this.suspended) return;
    this.refuseToWait();
    for (const { target } of this.live?.entries ?? []) target.suspend?.();
    this.suspended = true;
  }

  /**
   * Swaps a loaded table in. Where a target refuses, the device stays suspended with the new table; one
   * that does not fit what it stands on is dropped, and the device stays suspended with the old.
   */
  resume(): void {
    if (this.suspended || this.inactive !== undefined) this.refuseToWait();
    if (this.inactive !== undefined) {
      this.suspend();
      const old = this.live;
      const fresh = this.inactive;
      this.inactive = undefined;
      if (fresh.entries.some(({ target }) => target.fits?.() === false)) {
        fresh.release();
        throw new Refusal("EINVAL", "a device is too small for the table");
      }
      this.live = fresh;
      this.#onSwap();
      old?.release();
    }
    if (!this.suspended) return;
    if (this.live === undefined) throw new Refusal("EINVAL", "the device has no table");
    for (const { target } of this.live.entries) target.preresume?.();
    for (const { target } of this.live.entries) target.resume?.();
    this.suspended = false;
  }

  dropTables(): void {
    this.inactive?.release();
    this.inactive = undefined;
    this.live?.release();
    this.live = undefined;
  }

  override paths(): readonly string[] {
    return [`/dev/mapper/${mangle(this.name)}`, `/dev/dm-${this.dev.minor}`];
  }

  override sizeBytes(): number {
    return this.live?.sizeBytes ?? 0;
  }

  override readOnly(): boolean {
    return this.live?.readOnly ?? false;
  }

  /** Of a device that is one linear piece: a pool's metadata may stand on it. */
  override place(): Place | undefined {
    const [node, ...others] = this.live?.nodes ?? [];
    const [entry, ...more] = this.live?.entries ?? [];
    const baseBytes = entry?.target.linearBytes;
    const place = node?.place();
    if (baseBytes === undefined || others.length + more.length > 0) return undefined;
    return place && { disk: place.disk, offsetBytes: place.offsetBytes + baseBytes };
  }

  override read(offsetBytes: number, lengthBytes: number): Buffer {
    const table = this.#ready(offsetBytes, lengthBytes);
    const out = Buffer.alloc(lengthBytes);
    for (const part of table.parts(offsetBytes, lengthBytes)) {
      part.target.read(part.offsetBytes, part.lengthBytes).copy(out, part.at);
    }
    return out;
  }

  override write(offsetBytes: number, bytes: Uint8Array): void {
    const table = this.#ready(offsetBytes, bytes.length);
    if (table.readOnly) throw new Refusal("EPERM", "the device is read-only");
    for (const part of table.parts(offsetBytes, bytes.length)) {
      part.target.write(part.offsetBytes, bytes.subarray(part.at, part.at + part.lengthBytes));
    }
  }

  override discard(offsetBytes: number, lengthBytes: number): void {
    const table = this.#ready(offsetBytes, lengthBytes);
    if (table.readOnly) throw new Refusal("EPERM", "the device is read-only");
    for (const part of table.parts(offsetBytes, lengthBytes)) {
      part.target.discard(part.offsetBytes, part.lengthBytes);
    }
  }

  override flush(): void {
    const table = this.#ready(0, 0);
    for (const { target } of table.entries) target.flush();
  }

  protected override lastClose(): void {
    this.#onLastClose(this);
  }

  #ready(offsetBytes: number, lengthBytes: number): Table {
    if (this.live === undefined) throw new Refusal("EIO", "the device has no table");
    if (this.suspended || this.internallySuspended) {
      throw new Refusal("EAGAIN", "the device is suspended and would hold this I/O back");
    }
    checkRange(this, offsetBytes, lengthBytes);
    return this.live;
  }
}

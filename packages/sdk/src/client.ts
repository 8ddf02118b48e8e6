/** The typed calls. */
import type { Hello } from "@thinpool/protocol";
import type { Dialler } from "./connection.ts";
import { DeviceVerbs } from "./device-verbs.ts";
import { clientError } from "./errors.ts";
import type { ClientState } from "./link.ts";
import type { EventLogOptions, EventsOptions, LoggedEvent, PoolEvent } from "./events.ts";
import { readEventLog, readEvents } from "./events.ts";
import { listDevices } from "./listing.ts";
import { Leases } from "./leases.ts";
import { Link } from "./link.ts";
import type { ActivateOptions, MountOptions } from "./mount-options.ts";
import { mountParams } from "./mount-options.ts";
import { PoolVerbs } from "./pool-verbs.ts";
import type { CallOptions, ChangeOptions } from "./requests.ts";
import { Requests } from "./requests.ts";
import type {
  Device,
  Filesystem,
  Forecast,
  MountEntry,
  Owner,
  PoolStatus,
  ReleaseResult,
  Usage,
} from "./resources.ts";
import { Rights } from "./rights.ts";
import type { DeviceExport, ExportOptions, ImportOptions, Imported } from "./transfers.ts";
import { exportDevice, importImage } from "./transfers.ts";
import {
  Clone,
  Mount,
  deviceFromWire,
  forecastFromWire,
  statusFromWire,
  usageFromWire,
} from "./resources.ts";

/** A mount may wait for a journal's recovery, a removal for many blocks. */
export const DEFAULT_TIMEOUT_MS = 60_000;
export const MAX_TIMEOUT_MS = 3_600_000;
/** From a cut until the client gives up: longer than a restart of the daemon takes. */
export const DEFAULT_RECONNECT_TIMEOUT_MS = 60_000;
/** How long `close` waits for the daemon's goodbye. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface ConnectOptions {
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
  /** For connecting and, unless a call says otherwise, for each call: 1 to 3 600 000 ms. */
  readonly timeoutMs?: number;
  /**
   * How long the client tries to connect again after a cut, 0 to 3 600 000 ms; then it is "gone". The
   * daemon keeps the session for its own grace period (`hello.session.graceMs`).
   */
  readonly reconnectTimeoutMs?: number;
}

function assertWithin(name: string, value: number, min: number, address: string): void {
  if (Number.isInteger(value) && value >= min && value <= MAX_TIMEOUT_MS) return;
  throw clientError("ARGUMENT_INVALID", {
    operation: "connect",
    object: address,
    reason: `${name} must be a whole number from ${min} to ${MAX_TIMEOUT_MS}, not ${value}`,
  });
}

/** Connects by any dialler; `connect` of the package's entry knows which. */
export async function connectBy(dialler: Dialler, options: ConnectOptions): Promise<Client> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  const { reconnectTimeoutMs = DEFAULT_RECONNECT_TIMEOUT_MS } = options;
  assertWithin("timeoutMs", timeoutMs, 1, dialler.address);
  assertWithin("reconnectTimeoutMs", reconnectTimeoutMs, 0, dialler.address);
  const client = new Client(dialler, timeoutMs, reconnectTimeoutMs);
  await client.open(signal);
  return client;
}

/** A device is listed where all that is given fits. */
export interface ListOptions extends CallOptions {
  /** All of these, with these values: up to 32. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly ownerUid?: number;
  /** The name of the device that they were made from, by cloning or a snapshot. */
  readonly origin?: string;
}

export type StateListener = (state: ClientState, reason: string) => void;

/** What a listener throws is its program's, as whatever nobody catches; the client goes on. */
function tell(listener: StateListener, state: ClientState, reason: string): void {
  try {
    listener(state, reason);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/**
 * A client of the daemon. All calls reject with ThinpoolError.
 *
 * A cut connection is made again by itself, and the session resumed: calls wait meanwhile, those in
 * flight are sent again, and the daemon does nothing twice (see `ChangeOptions.idempotencyKey`). Only
 * where the session is gone, and something was held by it, or the daemon does not come back in time,
 * calls fail: with SESSION_GONE or CONNECTION_LOST.
 */
export class Client implements Owner, AsyncDisposable {
  readonly #link: Link;
  readonly #requests: Requests;
  readonly #listeners = new Set<StateListener>();
  /** What ends with the session: references, and names of ephemeral clones not yet mounted. */
  readonly #held = new Set<string>();
  readonly #leases = new Leases((reference) => this.renew({ reference }));

  /** Use `connect`. */
  constructor(dialler: Dialler, timeoutMs: number, reconnectTimeoutMs: number) {
    this.#link = new Link({
      dialler,
      timeoutMs,
      reconnectTimeoutMs,
      listener: {
        up: () => this.#requests.up(),
        down: () => this.#requests.down(),
        receive: (message) => this.#requests.receive(message),
        ended: (failure) => this.#requests.ended(failure),
        state: (state, reason) => {
          for (const listener of this.#listeners) tell(listener, state, reason);
        },
        holdsSession: () => this.#held.size > 0,
      },
    });
    this.#requests = new Requests(this.#link, timeoutMs);
  }

  /** By `connect`, once. */
  async open(signal: AbortSignal | undefined): Promise<void> {
    await this.#link.open(signal);
  }

  get state(): ClientState {
    return this.#link.state;
  }

  /** The daemon's version, features and limits, as it told them at the last connect. */
  get hello(): Hello {
    return this.#link.hello;
  }

  /**
   * Calls `listener` at each change of state, until the function that it returns is called.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const stop = client.onState((state, reason) => console.log(state, reason));
   * await client.close();
   * // prints: closed the client was closed
   * stop();
   * ```
   */
  onState(listener: StateListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /**
   * How full the pool is, and whether it works.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const { state, deviceCount } = await client.status();
   * console.log(state, deviceCount);
   * // prints: working 1
   * ```
   */
  async status(options: CallOptions = {}): Promise<PoolStatus> {
    return statusFromWire(await this.#requests.call("pool.status", {}, options));
  }

  /**
   * When the pool will be full, from how its use went in the last hour.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const { monitored, data } = await client.forecast();
   * // Nothing is written: it will never be full.
   * console.log(monitored, data?.secondsToFull);
   * // prints: true undefined
   * ```
   */
  async forecast(options: CallOptions = {}): Promise<Forecast> {
    return forecastFromWire(await this.#requests.call("pool.forecast", {}, options));
  }

  /** What each device that one may see takes of the pool; measured at most half a minute ago. */
  async usage(options: CallOptions = {}): Promise<Usage> {
    return usageFromWire(await this.#requests.call("pool.usage", {}, options));
  }

  /**
   * One's own devices and the images, those that belong to root, by name. Root sees all. NOT_FOUND where
   * there is no such `origin` that the caller may see. Asked for in pages: each device is there that was
   * there all the time, but one that is renamed meanwhile can be missing.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * console.log((await client.list()).map(({ name }) => name));
   * // prints: [ 'base' ]
   * await using one = await client.clone({ origin: "base", name: "one" });
   * await client.devices.update({ name: one.name, labels: { team: "storage", stage: "test" } });
   * const labels = { team: "storage" };
   * console.log((await client.list({ labels, origin: "base" })).map(({ name }) => name));
   * // prints: [ 'one' ]
   * ```
   */
  async list(options: ListOptions = {}): Promise<readonly Device[]> {
    const { labels, ownerUid, origin } = options;
    const pairs = Object.entries(labels ?? {}).map(([key, value]) => ({ key, value }));
    const params = {
      ...(labels === undefined ? {} : { labels: pairs }),
      ...(ownerUid === undefined ? {} : { ownerUid }),
      ...(origin === undefined ? {} : { origin }),
    };
    return listDevices(this.#requests, params, options);
  }

  /** NOT_FOUND where there is none of that name that the caller may see. */
  async get(options: { readonly name: string } & CallOptions): Promise<Device> {
    const { name } = options;
    return deviceFromWire(await this.#requests.call("device.get", { name }, options));
  }

  /** Root only. Default: 10 GiB with ext4. EXISTS, NO_SPACE, FORBIDDEN. */
  async create(
    options: {
      readonly name: string;
      readonly sizeBytes?: bigint;
      readonly filesystem?: Filesystem;
      /** The user whose it is to be: a right of its own, and then his rights decide. */
      readonly onBehalfOf?: number;
    } & ChangeOptions,
  ): Promise<Device> {
    const { name, sizeBytes, filesystem, onBehalfOf } = options;
    const params = {
      name,
      ...(sizeBytes === undefined ? {} : { sizeBytes: sizeBytes.toString() }),
      ...(filesystem === undefined ? {} : { filesystem }),
      ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
    };
    return deviceFromWire(await this.#requests.call("device.create", params, options));
  }

  /**
   * A copy-on-write copy that belongs to the caller. An ephemeral one goes with its last mount, or with
   * this client where it was never mounted. NOT_FOUND, EXISTS, NO_SPACE, LIMIT.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using clone = await client.clone({ origin: "base", name: "one" });
   * console.log(clone.name, clone.device.sizeBytes);
   * // prints: one 67108864n
   * ```
   */
  async clone(
    options: {
      readonly origin: string;
      readonly name: string;
      readonly ephemeral?: boolean;
      /** Of the origin's owner, where the policy does not let the caller clone it. */
      readonly token?: string;
      /** The user whose it is to be: a right of its own, and then his rights decide. */
      readonly onBehalfOf?: number;
    } & ChangeOptions,
  ): Promise<Clone> {
    const { origin, name, ephemeral, token, onBehalfOf } = options;
    const params = {
      origin,
      name,
      ...(ephemeral === undefined ? {} : { ephemeral }),
      ...(token === undefined ? {} : { token }),
      ...(onBehalfOf === undefined ? {} : { onBehalfOf }),
    };
    const device = await this.#requests.call("device.clone", params, options);
    if (ephemeral === true) this.#held.add(name);
    return new Clone(this, deviceFromWire(device), onBehalfOf);
  }

  /**
   * Makes a device, empty or a copy of `origin`, and unpacks a tar archive into it: an image without a
   * mount. All of it is there afterwards, or nothing. No owner is taken over, set-id bits are left off;
   * a device node, a pipe, a path that is absolute or has "..", and what would lead over a symlink are
   * refused. After a cut it goes on where it was. A call has no time limit of its own; given up, it takes up to
   * ten seconds more, until nothing is left, and resolves all the same where all was done already.
   *
   * EXISTS, FORBIDDEN, NO_SPACE, LIMIT, ARCHIVE_REFUSED with the entry's name, CHECKSUM_MISMATCH,
   * STREAM_LOST where the daemon lost what had come; and whatever the source throws.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using one = await client.clone({ origin: "base", name: "one" });
   * const source = client.exportDevice({ name: one.name });
   * const { device, content } = await client.importImage({ name: "two", origin: "base", source });
   * console.log(device.name, content?.entries);
   * // prints: two 0
   * await client.remove({ name: "two" });
   * ```
   */
  async importImage(options: ImportOptions): Promise<Imported> {
    return importImage(this.#requests, options);
  }

  /**
   * The files of a device, as they are now, as a tar archive: mounted or not, of a snapshot that is
   * taken meanwhile. Who may clone it may. Names in their order: the same files are the same archive.
   *
   * Reading throws: NOT_FOUND, FORBIDDEN where a file's own rights are in the way, LIMIT, STREAM_LOST.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * const archive = client.exportDevice({ name: "base" });
   * let bytes = 0;
   * for await (const chunk of archive) bytes += chunk.length;
   * const { entries, streamBytes } = await archive.summary;
   * console.log(entries, BigInt(bytes) === streamBytes);
   * // prints: 0 true
   * ```
   */
  exportDevice(options: ExportOptions): DeviceExport {
    return exportDevice(this.#requests, options);
  }

  /** Snapshots of one moment, names, labels, sizes, going back to a snapshot. */
  get devices(): DeviceVerbs {
    return new DeviceVerbs(this.#requests);
  }

  /** Checking, backing up and extending the pool, and its space policy: for administrators. */
  get pool(): PoolVerbs {
    return new PoolVerbs(this.#requests);
  }

  /** Who may do what: asking, publishing images, tokens. */
  get rights(): Rights {
    return new Rights(this.#requests);
  }

  /** BUSY while it is mounted. `onBehalfOf`: the user whose it is, as where it was made. */
  async remove(
    options: { readonly name: string; readonly onBehalfOf?: number | undefined } & ChangeOptions,
  ): Promise<void> {
    const { name, onBehalfOf } = options;
    const params = { name, ...(onBehalfOf === undefined ? {} : { onBehalfOf }) };
    await this.#requests.call("device.remove", params, options);
    this.#held.delete(name);
  }

  /**
   * The first reference activates and mounts the device, further ones share the mount. A lease is
   * renewed by this client until it is released, or the client closed. NOT_FOUND, FORBIDDEN, LIMIT.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using clone = await client.clone({ origin: "base", name: "one" });
   * await using mount = await clone.mount();
   * console.log(mount.path.endsWith("/one"), (await client.mounts()).length);
   * // prints: true 1
   * ```
   */
  async mount(options: { readonly device: string } & MountOptions & ChangeOptions): Promise<Mount> {
    const params = { device: options.device, ...mountParams(options) };
    return this.#take(await this.#requests.call("mount.create", params, options), options);
  }

  /**
   * The device as a block device of one's own, `path`, for a virtual machine's disk. Nobody mounts it
   * meanwhile; further references share the node. Held and released as a mount is. NOT_FOUND, BUSY while
   * it is mounted, FORBIDDEN where the policy has no `mount.blockDevices` for the caller, LIMIT.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using root = await client.clone({ origin: "base", name: "vm-1" });
   * await using disk = await root.activate();
   * console.log(disk.path.endsWith("/vm-1"), (await client.mounts())[0]?.block);
   * // prints: true true
   * ```
   */
  async activate(
    options: { readonly device: string } & ActivateOptions & ChangeOptions,
  ): Promise<Mount> {
    const { device: name, holder, readOnly } = options;
    const params = {
      name,
      ...(holder === undefined ? {} : { holder }),
      ...(readOnly === undefined ? {} : { readOnly }),
    };
    return this.#take(await this.#requests.call("device.activate", params, options), options);
  }

  /** A reference that was made is this client's to hold. */
  #take(made: MountEntry, { holder }: Pick<MountOptions, "holder">): Mount {
    const { reference } = made;
    this.#held.delete(made.device);
    if (holder === undefined || holder.type === "session") this.#held.add(reference);
    if (holder?.type === "lease") this.#leases.keep(reference, holder.ttlMs);
    return new Mount(this, made);
  }

  /** A lease's time to live begins anew, with another length if given. NOT_MOUNTED: it has ended. */
  async renew(
    options: { readonly reference: string; readonly ttlMs?: number } & ChangeOptions,
  ): Promise<MountEntry> {
    const { reference, ttlMs } = options;
    const params = { reference, ...(ttlMs === undefined ? {} : { ttlMs }) };
    const renewed = await this.#requests.call("mount.renew", params, options);
    if (ttlMs !== undefined) this.#leases.keep(reference, ttlMs);
    return renewed;
  }

  /** One's own references; root sees all. */
  async mounts(options: CallOptions = {}): Promise<readonly MountEntry[]> {
    return this.#requests.call("mount.list", {}, options);
  }

  /**
   * Gives a reference up; the last one unmounts. BUSY while a process works in it; NOT_MOUNTED.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using clone = await client.clone({ origin: "base", name: "one" });
   * const { reference } = await clone.mount();
   * console.log((await client.release({ reference })).count);
   * // prints: 0
   * ```
   */
  async release(options: { readonly reference: string } & ChangeOptions): Promise<ReleaseResult> {
    const { reference } = options;
    const released = await this.#requests.call("mount.release", { reference }, options);
    this.#held.delete(reference);
    this.#leases.drop(reference);
    return released;
  }

  /**
   * What happens in the pool and to the devices that one may see, as it happens: first the state as it
   * is, or, with `after`, what came since. Over cuts and restarts of the daemon nothing is missing and
   * nothing comes twice. Who reads slowly gets events late; who is 10 000 behind, or was, gets the state
   * anew (`type: "state"`). What becomes visible by publishing or by the policy is no event.
   *
   * Goes on until one breaks out of the loop, or throws: ABORTED, CLIENT_CLOSED, FORBIDDEN, LIMIT,
   * CONNECTION_LOST.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * let clone: Awaited<ReturnType<typeof client.clone>> | undefined;
   * for await (const event of client.events()) {
   *   if (event.type === "state") {
   *     console.log("devices:", event.devices.map(({ name }) => name));
   *     // prints: devices: [ 'base' ]
   *     clone = await client.clone({ origin: "base", name: "one" });
   *   } else if (event.type === "device-created") {
   *     console.log("made:", event.name, event.sizeBytes);
   *     // prints: made: one 67108864n
   *     break;
   *   }
   * }
   * await clone?.remove();
   * ```
   */
  events(options: EventsOptions = {}): AsyncGenerator<PoolEvent, never, undefined> {
    return readEvents(this.#requests, options);
  }

  /**
   * What has happened, from the daemon's log, which keeps the last 10 000 events: for people who look
   * back. A program that keeps a state by them wants `events`. INVALID_PARAMS where the pool has not
   * come to the number `after`, FORBIDDEN; with `follow` also what `events` throws.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * for await (const event of client.eventLog()) {
   *   if (event.type === "device-created") console.log(event.name);
   *   // prints: base
   * }
   * ```
   */
  eventLog(options: EventLogOptions = {}): AsyncGenerator<LoggedEvent, void, undefined> {
    return readEventLog(this.#requests, options);
  }

  /**
   * Calls that wait fail with CLIENT_CLOSED. What the session holds goes a short time later; leases go
   * at their end, permanent mounts stay.
   */
  async close(): Promise<void> {
    this.#leases.dropAll();
    await this.#link.close(CLOSE_TIMEOUT_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

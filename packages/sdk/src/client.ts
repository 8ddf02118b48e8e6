/** `connect()` and the typed calls. */
import { chooseSocketPath, openConnection } from "./connection.ts";
import { clientError } from "./errors.ts";
import type { MountOptions } from "./mount-options.ts";
import { mountParams } from "./mount-options.ts";
import type { CallOptions } from "./requests.ts";
import { Requests } from "./requests.ts";
import type {
  Device,
  Filesystem,
  MountEntry,
  Owner,
  PoolStatus,
  ReleaseResult,
} from "./resources.ts";
import { Clone, Mount, deviceFromWire, statusFromWire } from "./resources.ts";

/** A mount may wait for a journal's recovery, a removal for many blocks. */
export const DEFAULT_TIMEOUT_MS = 60_000;
export const MAX_TIMEOUT_MS = 3_600_000;
/** How long `close` waits for the daemon's goodbye. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface ConnectOptions {
  /** Default: THINPOOL_SOCKET of the environment, else /run/thinpool/thinpool.sock. */
  readonly socketPath?: string;
  /** Ends the attempt to connect. */
  readonly signal?: AbortSignal;
  /** For connecting and, unless a call says otherwise, for each call: 1 to 3 600 000 ms. */
  readonly timeoutMs?: number;
}

/**
 * Connects to the daemon. Rejects with ThinpoolError: DAEMON_UNREACHABLE, SOCKET_FORBIDDEN, TIMEOUT,
 * ABORTED, ARGUMENT_INVALID.
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, signal } = options;
  const socketPath = chooseSocketPath(options.socketPath, process.env);
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > MAX_TIMEOUT_MS) {
    throw clientError("ARGUMENT_INVALID", {
      operation: "connect",
      object: socketPath,
      reason: `timeoutMs must be a whole number from 1 to ${MAX_TIMEOUT_MS}, not ${timeoutMs}`,
    });
  }
  const connection = await openConnection({ socketPath, timeoutMs, signal });
  return new Client(new Requests(connection, timeoutMs));
}

/** All calls reject with ThinpoolError; after a cut with CONNECTION_LOST, and nothing is sent again. */
export class Client implements Owner, AsyncDisposable {
  readonly #requests: Requests;

  /** Use `connect`. */
  constructor(requests: Requests) {
    this.#requests = requests;
  }

  async status(call?: CallOptions): Promise<PoolStatus> {
    return statusFromWire(await this.#requests.call("pool.status", {}, call));
  }

  /** One's own devices and the images, those that belong to root. Root sees all. */
  async list(call?: CallOptions): Promise<readonly Device[]> {
    const devices = await this.#requests.call("device.list", {}, call);
    return devices.map(deviceFromWire);
  }

  async get(options: { readonly name: string }, call?: CallOptions): Promise<Device> {
    return deviceFromWire(await this.#requests.call("device.get", { name: options.name }, call));
  }

  /** Root only. Default: 10 GiB with ext4. */
  async create(
    options: {
      readonly name: string;
      readonly sizeBytes?: bigint;
      readonly filesystem?: Filesystem;
    },
    call?: CallOptions,
  ): Promise<Device> {
    const { name, sizeBytes, filesystem } = options;
    const params = {
      name,
      ...(sizeBytes === undefined ? {} : { sizeBytes: sizeBytes.toString() }),
      ...(filesystem === undefined ? {} : { filesystem }),
    };
    return deviceFromWire(await this.#requests.call("device.create", params, call));
  }

  /**
   * A copy-on-write copy that belongs to the caller. An ephemeral one goes with its last mount, or with
   * this client where it was never mounted.
   */
  async clone(
    options: { readonly origin: string; readonly name: string; readonly ephemeral?: boolean },
    call?: CallOptions,
  ): Promise<Clone> {
    const { origin, name, ephemeral } = options;
    const params = { origin, name, ...(ephemeral === undefined ? {} : { ephemeral }) };
    const device = await this.#requests.call("device.clone", params, call);
    return new Clone(this, deviceFromWire(device));
  }

  /** BUSY while it is mounted. */
  async remove(options: { readonly name: string }, call?: CallOptions): Promise<void> {
    await this.#requests.call("device.remove", { name: options.name }, call);
  }

  /** The first reference activates and mounts the device, further ones share the mount. */
  async mount(
    options: { readonly device: string } & MountOptions,
    call?: CallOptions,
  ): Promise<Mount> {
    const params = { device: options.device, ...mountParams(options) };
    return new Mount(this, await this.#requests.call("mount.create", params, call));
  }

  /** A lease's time to live begins anew, with another length if given. NOT_MOUNTED: it has ended. */
  async renew(
    options: { readonly reference: string; readonly ttlMs?: number },
    call?: CallOptions,
  ): Promise<MountEntry> {
    const { reference, ttlMs } = options;
    const params = { reference, ...(ttlMs === undefined ? {} : { ttlMs }) };
    return this.#requests.call("mount.renew", params, call);
  }

  /** One's own references; root sees all. */
  async mounts(call?: CallOptions): Promise<readonly MountEntry[]> {
    return this.#requests.call("mount.list", {}, call);
  }

  async release(
    options: { readonly reference: string },
    call?: CallOptions,
  ): Promise<ReleaseResult> {
    const { reference } = options;
    return this.#requests.call("mount.release", { reference }, call);
  }

  /** What this client's session holds goes a short time later; leases and permanent mounts stay. */
  async close(): Promise<void> {
    await this.#requests.close(CLOSE_TIMEOUT_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What can be done with devices that are there. */
import type { MethodParams, MethodResult } from "@thinpool/protocol";
import type { CallOptions, ChangeOptions, Requests } from "./requests.ts";
import type { Device } from "./resources.ts";
import { deviceFromWire } from "./resources.ts";

export interface Snapshots {
  /** In the order asked for. */
  readonly devices: readonly Device[];
  /** How long those of the origins that are in use were held still, in milliseconds. */
  readonly pauseMs: number;
}

export interface Resized {
  readonly device: Device;
  /** "later": xfs grows while it is mounted only; ask again then. */
  readonly filesystem: MethodResult<"device.resize">["filesystem"];
}

export interface ChangedRange {
  /**
   * "changed": both have data there; "added": only the newer has; "removed": only the older had, the
   * newer reads as zeroes. What is in none of the ranges is the same in both.
   */
  readonly kind: "changed" | "added" | "removed";
  readonly offsetBytes: bigint;
  readonly lengthBytes: bigint;
}

export class DeviceVerbs {
  readonly #requests: Requests;

  /** Use `client.devices`. */
  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /**
   * Copies of several devices, 1 to 64, as they were at one moment; they belong to the caller. All are
   * made, or none. NOT_FOUND, EXISTS, NO_SPACE, LIMIT.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using one = await client.clone({ origin: "base", name: "one" });
   * const { devices } = await client.devices.snapshotMany({
   *   snapshots: [{ origin: one.name, name: "then" }],
   * });
   * console.log(devices.map(({ name }) => name));
   * // prints: [ 'then' ]
   * ```
   */
  async snapshotMany(
    options: {
      readonly snapshots: readonly { readonly origin: string; readonly name: string }[];
    } & ChangeOptions,
  ): Promise<Snapshots> {
    const snapshots = options.snapshots.map(({ origin, name }) => ({ origin, name }));
    const made = await this.#requests.call("device.snapshotMany", { snapshots }, options);
    return { devices: made.devices.map(deviceFromWire), pauseMs: made.pauseMs };
  }

  /** BUSY while it is mounted, EXISTS where the name is taken. */
  async rename(
    options: { readonly name: string; readonly to: string } & ChangeOptions,
  ): Promise<Device> {
    const { name, to } = options;
    return deviceFromWire(await this.#requests.call("device.rename", { name, to }, options));
  }

  /**
   * Adds labels, or puts others in their place; null takes one away. Up to 32 of up to 128 characters.
   * `readOnly` counts from the next mount on (BUSY while it is mounted). INVALID_PARAMS.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using one = await client.clone({ origin: "base", name: "one" });
   * const labels = { team: "storage" };
   * console.log((await client.devices.update({ name: one.name, labels })).labels);
   * // prints: { team: 'storage' }
   * ```
   */
  async update(
    options: {
      readonly name: string;
      readonly labels?: Readonly<Record<string, string | null>>;
      readonly readOnly?: boolean;
    } & ChangeOptions,
  ): Promise<Device> {
    const { name, labels, readOnly } = options;
    const params: MethodParams<"device.update"> = {
      name,
      ...(labels === undefined ? {} : { labels: { ...labels } }),
      ...(readOnly === undefined ? {} : { readOnly }),
    };
    return deviceFromWire(await this.#requests.call("device.update", params, options));
  }

  /**
   * Grows a device and its filesystem, mounted or not. INVALID_PARAMS below its present size; LIMIT.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using one = await client.clone({ origin: "base", name: "one" });
   * const grown = { name: one.name, sizeBytes: 128n << 20n };
   * console.log((await client.devices.resize(grown)).device.sizeBytes);
   * // prints: 134217728n
   * ```
   */
  async resize(
    options: { readonly name: string; readonly sizeBytes: bigint } & ChangeOptions,
  ): Promise<Resized> {
    const { name, sizeBytes } = options;
    const params = { name, sizeBytes: sizeBytes.toString() };
    const { device, filesystem } = await this.#requests.call("device.resize", params, options);
    return { device: deviceFromWire(device), filesystem };
  }

  /**
   * The byte ranges in which `name` differs from the older device `from`, ascending: the base of an
   * incremental backup. By mappings: what was written anew with the same bytes counts as changed. Take
   * snapshots and compare those: a device in use changes from page to page. The timeout is a page's.
   * NOT_FOUND, BUSY, UNSUPPORTED where the daemon's machine has no thin_delta.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using one = await client.clone({ origin: "base", name: "one" });
   * let changedBytes = 0n;
   * for await (const range of client.devices.changedBlocks({ name: one.name, from: "base" })) {
   *   changedBytes += range.lengthBytes;
   * }
   * console.log(changedBytes);
   * // prints: 0n
   * ```
   */
  async *changedBlocks(
    options: {
      readonly name: string;
      readonly from: string;
      /** Ranges that are asked for at a time, 1 to 16 384, which is the default. */
      readonly pageRanges?: number;
    } & CallOptions,
  ): AsyncGenerator<ChangedRange, void, undefined> {
    const { name, from, pageRanges } = options;
    const limit = pageRanges === undefined ? {} : { limit: pageRanges };
    let offsetBytes: string | undefined = "0";
    while (offsetBytes !== undefined) {
      const params: MethodParams<"device.changedBlocks"> = { name, from, offsetBytes, ...limit };
      const page: MethodResult<"device.changedBlocks"> = await this.#requests.call(
        "device.changedBlocks",
        params,
        options,
      );
      for (const range of page.ranges) {
        yield {
          kind: range.kind,
          offsetBytes: BigInt(range.offsetBytes),
          lengthBytes: BigInt(range.lengthBytes),
        };
      }
      offsetBytes = page.nextOffsetBytes;
    }
  }

  /**
   * Gives back to the pool what the filesystem of a device that is mounted for writing does not use:
   * what was deleted there counts once it has committed that (ext4: 5 s, or `sync`). May take minutes.
   * Resolves with what the filesystem says it discarded, which can be more than the pool gets back.
   * NOT_MOUNTED, FORBIDDEN, NOT_FOUND.
   *
   * @example
   * ```ts
   * import { connect } from "@thinpool/sdk";
   *
   * await using client = await connect();
   * await using one = await client.clone({ origin: "base", name: "one" });
   * await using mount = await one.mount();
   * console.log((await client.devices.trim({ name: mount.device })) >= 0n);
   * // prints: true
   * ```
   */
  async trim(options: { readonly name: string } & ChangeOptions): Promise<bigint> {
    const { name } = options;
    const { trimmedBytes } = await this.#requests.call("device.trim", { name }, options);
    return BigInt(trimmedBytes);
  }

  /** The device gets the content of a snapshot of it, which stays. BUSY while it is mounted. */
  async revert(
    options: { readonly name: string; readonly snapshot: string } & ChangeOptions,
  ): Promise<Device> {
    const { name, snapshot } = options;
    return deviceFromWire(await this.#requests.call("device.revert", { name, snapshot }, options));
  }
}

/** What must be in the pool: devices by name, and what each of their pages may read as. */

/** A page's tag: what was written there. 0 is a page that was never written. */
export interface PageVersions {
  /** What may be read while the machine lives: one tag, or more where a write was cut short. */
  readonly now: readonly number[];
  /** What may be read after a power cut: all since the last flush. */
  readonly cut: readonly number[];
}

export type Content = ReadonlyMap<number, PageVersions>;

export interface ModelDevice {
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly filesystem: string;
  readonly ownerUid: number;
  readonly readOnly: boolean;
  readonly label: string;
  /** Its own for life, through renames; a snapshot knows its origin's. */
  readonly identity: number;
  readonly origin: number | undefined;
  readonly content: Content;
}

export type Model = ReadonlyMap<string, ModelDevice>;

const UNWRITTEN: PageVersions = { now: [0], cut: [0] };

export function versionsOf(content: Content, page: number): PageVersions {
  return content.get(page) ?? UNWRITTEN;
}

function changed(content: Content, page: number, versions: PageVersions): Content {
  return new Map([...content, [page, versions]]);
}

/** A write that was begun: it may be there or not. */
export function writing(content: Content, page: number, tag: number): Content {
  const { now, cut } = versionsOf(content, page);
  return changed(content, page, { now: [...now, tag], cut: [...cut, tag] });
}

/** A write that was acknowledged, not yet flushed. */
export function written(content: Content, page: number, tag: number): Content {
  const { cut } = versionsOf(content, page);
  return changed(content, page, { now: [tag], cut });
}

/** After a flush nothing older can come back. */
export function flushed(content: Content): Content {
  return frozen(content);
}

/** What was read is what it is from now on. */
export function settled(content: Content, page: number, tag: number, durable: boolean): Content {
  const { cut } = versionsOf(content, page);
  return changed(content, page, { now: [tag], cut: durable ? [tag] : cut });
}

export function withDevice(model: Model, device: ModelDevice): Model {
  return new Map([...model, [device.name, device]]);
}

export function without(model: Model, name: string): Model {
  return new Map([...model].filter(([other]) => other !== name));
}

/** As the origin of a snapshot it was flushed before the kernel took the message. */
export function frozen(content: Content): Content {
  return new Map([...content].map(([page, { now }]) => [page, { now, cut: now }]));
}

/** What the pool says of a device. */
export interface Described {
  readonly name: string;
  readonly sizeBytes: bigint;
  readonly filesystem: string;
  readonly ownerUid: number;
  readonly readOnly: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** One line per device, for comparing and for people; without contents. */
export function describe(devices: Iterable<Described | ModelDevice>): string {
  return [...devices]
    .map((device) => {
      const { name, sizeBytes, filesystem, ownerUid, readOnly } = device;
      const label = "label" in device ? device.label : (device.labels["soak"] ?? "");
      return `${name} ${sizeBytes} ${filesystem} ${ownerUid} ${readOnly ? "ro" : "rw"} ${label}`;
    })
    .toSorted()
    .join("\n");
}

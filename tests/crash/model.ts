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
  return new Map([...content].map(([page, { now }]) => [page, { now, cut: now }]));
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

/** One line per device, for comparing and for people; without contents. */
export function describe(
  devices: Iterable<Pick<ModelDevice, "name" | "sizeBytes" | "filesystem" | "ownerUid">>,
): string {
  return [...devices]
    .map(
      ({ name, sizeBytes, filesystem, ownerUid }) =>
        `${name} ${sizeBytes} ${filesystem} ${ownerUid}`,
    )
    .toSorted()
    .join("\n");
}

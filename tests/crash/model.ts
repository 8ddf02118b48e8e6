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
  /** What it reads as where it holds nothing: its external origin's. */
  readonly base: Content;
  /** What its first block was last given by; undefined: it may hold anything. */
  readonly firstBlock: number | undefined;
}

export type Model = ReadonlyMap<string, ModelDevice>;

/** In place of a tag: the page may hold anything. */
export const ANY = -1;
const UNKNOWN: PageVersions = { now: [ANY], cut: [ANY] };
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

/** Its blocks are gone from the pool, for good once that is flushed. */
export function discarded({ content, base }: ModelDevice): Content {
  return new Map(
    [...content].map(([page, { cut }]) => {
      const { now } = versionsOf(base, page);
      return [page, { now, cut: [...cut, ...now] }];
    }),
  );
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

/**
 * The model once a backup's metadata and ledger are back: what was made since is gone, what was removed
 * is there again. Data is not backed up: a device holds what it held where none of a block's pages has
 * changed meanwhile, since then it has had the block all the time; another's may hold anything.
 */
export function restored(
  backup: Model,
  present: Model,
  blocks: readonly (readonly number[])[],
): Model {
  const byIdentity = new Map([...present.values()].map((device) => [device.identity, device]));
  return new Map(
    [...backup].map(([name, device]) => {
      const now = byIdentity.get(device.identity);
      const content = new Map<number, PageVersions>();
      for (const pages of blocks) {
        const same = pages.every((page) => isSame(device.content, now?.content, page));
        for (const page of pages) {
          const versions = same ? now?.content.get(page) : UNKNOWN;
          if (versions !== undefined) content.set(page, versions);
        }
      }
      const firstBlock = device.firstBlock === now?.firstBlock ? device.firstBlock : undefined;
      return [name, { ...device, content, firstBlock }];
    }),
  );
}

function isSame(backup: Content, present: Content | undefined, page: number): boolean {
  if (present === undefined) return false;
  const [old, ...others] = versionsOf(backup, page).now;
  const [now, ...more] = versionsOf(present, page).now;
  return old === now && old !== ANY && others.length + more.length === 0;
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

/** What `top` shows, as lines of text; pure. */
import { styleText } from "node:util";
import type { Device, MountEntry, PoolStatus } from "@thinpool/sdk";
import { bar } from "../pool/bar.ts";
import { formatShare, formatSize } from "../size.ts";
import { renderTable } from "../table.ts";
import type { IoCounts } from "./io.ts";

export const sortKeys = ["io", "size", "mounts", "name"] as const;
export type SortKey = (typeof sortKeys)[number];

/** One look at the pool. */
export interface Sample {
  readonly atMs: number;
  readonly status: PoolStatus;
  readonly devices: readonly Device[];
  readonly mounts: readonly MountEntry[];
  /** By device uuid. */
  readonly io: ReadonlyMap<string, IoCounts>;
}

export interface View {
  readonly sort: SortKey;
  /** Only devices whose name contains it. */
  readonly filter: string;
  /** The filter is being typed. */
  readonly typing: boolean;
}

interface Row {
  readonly device: Device;
  readonly readBytesPerSecond: number;
  readonly writtenBytesPerSecond: number;
  readonly mounts: number;
}

const BAR_WIDTH = 30;

/** At most `rows` lines of at most `columns` characters. `earlier` gives the rates; without it none. */
export function renderTop(options: {
  readonly now: Sample;
  readonly earlier: Sample | undefined;
  readonly view: View;
  readonly rows: number;
  readonly columns: number;
}): readonly string[] {
  const { now, earlier, view, rows, columns } = options;
  const head = [...headLines(now.status, now), helpLine(view), ""];
  const table = tableLines(sortRows(rowsOf(now, earlier, view.filter), view.sort));
  return [...head, ...table].slice(0, rows).map((line) => line.slice(0, columns));
}

function headLines(status: PoolStatus, { atMs, mounts }: Sample): readonly string[] {
  const line = (name: string, used: bigint, total: bigint, lowWater?: bigint): string => {
    const picture = bar({
      used,
      total,
      width: BAR_WIDTH,
      ...(lowWater === undefined ? {} : { lowWater }),
    });
    const share = formatShare(used, total);
    return `${name.padEnd(8)}  ${picture}  ${share.padStart(6)} of ${formatSize(total)}`;
  };
  return [
    `pool ${status.uuid}  ${status.state}  ${new Date(atMs).toISOString()}`,
    line("data", status.dataUsedBytes, status.dataTotalBytes, status.lowWaterBytes),
    line("metadata", status.metadataUsedBytes, status.metadataTotalBytes),
    `devices   ${status.deviceCount}, ${status.activeCount} active; references ${mounts.length}`,
  ];
}

function helpLine({ sort, filter, typing }: View): string {
  if (typing) return `filter: ${filter}_   (enter: done, escape: none)`;
  const shown = filter === "" ? "" : `  filter: ${filter}`;
  return `sorted by ${sort}${shown}   q quit, s sort, / filter`;
}

function rowsOf(now: Sample, earlier: Sample | undefined, filter: string): readonly Row[] {
  const seconds = earlier === undefined ? 0 : (now.atMs - earlier.atMs) / 1000;
  const rate = (uuid: string, what: keyof IoCounts): number => {
    const [later, before] = [now.io.get(uuid)?.[what], earlier?.io.get(uuid)?.[what]];
    if (later === undefined || before === undefined || seconds <= 0) return 0;
    // A device that was deactivated in between counts from nothing again.
    return Math.max(0, later - before) / seconds;
  };
  const references = Map.groupBy(now.mounts, ({ device }) => device);
  return now.devices
    .filter(({ name }) => name.includes(filter))
    .map((device) => ({
      device,
      readBytesPerSecond: rate(device.uuid, "readBytes"),
      writtenBytesPerSecond: rate(device.uuid, "writtenBytes"),
      mounts: references.get(device.name)?.length ?? 0,
    }));
}

const ORDERS: Readonly<Record<SortKey, (a: Row, b: Row) => number>> = {
  io: (a, b) => ioOf(b) - ioOf(a),
  size: (a, b) => Number(b.device.sizeBytes - a.device.sizeBytes),
  mounts: (a, b) => b.mounts - a.mounts,
  name: () => 0,
};

function ioOf(row: Row): number {
  return row.readBytesPerSecond + row.writtenBytesPerSecond;
}

/** Equal ones in the order of their names, so that lines do not jump about. */
function sortRows(rows: readonly Row[], sort: SortKey): readonly Row[] {
  const order = ORDERS[sort];
  return rows.toSorted((a, b) => order(a, b) || (a.device.name < b.device.name ? -1 : 1));
}

function tableLines(rows: readonly Row[]): readonly string[] {
  const perSecond = (bytes: number): string =>
    bytes === 0 ? "-" : `${formatSize(BigInt(Math.round(bytes)))}/s`;
  const [heading = "", ...lines] = renderTable<Row>(
    [
      { heading: "NAME", value: ({ device }) => device.name },
      { heading: "OWNER", align: "right", value: ({ device }) => String(device.ownerUid) },
      { heading: "SIZE", align: "right", value: ({ device }) => formatSize(device.sizeBytes) },
      { heading: "READ", align: "right", value: (row) => perSecond(row.readBytesPerSecond) },
      { heading: "WRITTEN", align: "right", value: (row) => perSecond(row.writtenBytesPerSecond) },
      { heading: "MOUNTS", align: "right", value: ({ mounts }) => String(mounts) },
    ],
    rows,
  ).split("\n");
  return [heading, ...lines];
}

/** The heading of the devices stands out on a terminal; everything else is plain. */
export function highlight(lines: readonly string[], stream: NodeJS.WriteStream): string {
  return lines
    .map((line) => (line.startsWith("NAME ") ? styleText("inverse", line, { stream }) : line))
    .join("\r\n");
}

/** delay: `DEVICE OFFSET DELAY` once, twice (writes) or thrice (flushes) (dm-delay.c); delays in ms. */
import type { DevNumber } from "../../dev-number.ts";
import { formatDevNumber } from "../../dev-number.ts";
import { sectors } from "../../units.ts";
import type { Sectors } from "../../units.ts";
import { FieldReader } from "./fields.ts";

export interface DelayPart {
  readonly device: DevNumber;
  readonly offsetSectors: Sectors;
  readonly delayMs: number;
}

export interface DelayTable {
  readonly type: "delay";
  readonly read: DelayPart;
  /** Undefined: as reads. */
  readonly write: DelayPart | undefined;
  /** Undefined: as writes. */
  readonly flush: DelayPart | undefined;
}

/** I/Os under delay at the moment. */
export interface DelayStatus {
  readonly type: "delay";
  readonly reads: number;
  readonly writes: number;
  /** Undefined in kernels that don't count them. */
  readonly flushes: number | undefined;
}

const MAX_DELAY_MS = 0xffff_ffff;
const MAX_COUNT = 0xffff_ffff;

function partToParams(part: DelayPart): string {
  return `${formatDevNumber(part.device)} ${part.offsetSectors} ${part.delayMs}`;
}

export function delayToParams(table: Omit<DelayTable, "type">): string {
  const parts = [table.read];
  if (table.write !== undefined || table.flush !== undefined) parts.push(table.write ?? table.read);
  if (table.flush !== undefined) parts.push(table.flush);
  return parts.map(partToParams).join(" ");
}

function readPart(fields: FieldReader, kind: string): DelayPart {
  return {
    device: fields.device(`${kind} device`),
    offsetSectors: sectors(fields.u64(`${kind} offset in sectors`)),
    delayMs: fields.integer(`${kind} delay in ms`, MAX_DELAY_MS),
  };
}

export function delayFromParams(params: string): DelayTable {
  const fields = new FieldReader("delay table", params);
  const read = readPart(fields, "read");
  const write = fields.atEnd ? undefined : readPart(fields, "write");
  const flush = fields.atEnd ? undefined : readPart(fields, "flush");
  return { type: "delay", read, write, flush };
}

export function delayFromStatus(line: string): DelayStatus {
  const fields = new FieldReader("delay status", line);
  return {
    type: "delay",
    reads: fields.integer("delayed reads", MAX_COUNT),
    writes: fields.integer("delayed writes", MAX_COUNT),
    flushes: fields.atEnd ? undefined : fields.integer("delayed flushes", MAX_COUNT),
  };
}

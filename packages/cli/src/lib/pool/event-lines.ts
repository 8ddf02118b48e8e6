/** Events as lines, each printed as it comes: so the columns' widths are fixed. */
import type { LoggedEvent } from "@thinpool/sdk";
import { formatSize } from "../size.ts";

/** A pool that tells a million events still has straight columns. */
const NUMBER_WIDTH = 7;
const TIME_WIDTH = "2026-01-01T00:00:00.000Z".length;
const TYPE_WIDTH = "device-deactivated".length;

const line = (number: string, time: string, type: string, detail: string): string =>
  [number.padStart(NUMBER_WIDTH), time.padEnd(TIME_WIDTH), type.padEnd(TYPE_WIDTH), detail]
    .join("  ")
    .trimEnd();

export const EVENT_HEADING: string = line("NUMBER", "TIME", "EVENT", "DETAIL");

export function eventLine(event: LoggedEvent, { bytes }: { readonly bytes: boolean }): string {
  if (event.type === "lost") {
    const { first, number, type } = event;
    return line(String(number), "", type, `no longer kept, from ${first} on`);
  }
  const { number, atMs, type, ...rest } = event;
  return line(String(number), new Date(atMs).toISOString(), type, detailOf(rest, bytes));
}

/** "name=one sizeBytes=16 MiB": what an event has beyond its number, time and type. */
function detailOf(fields: Readonly<Record<string, unknown>>, bytes: boolean): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => {
      const text = typeof value === "bigint" && !bytes ? formatSize(value) : String(value);
      return `${key}=${text}`;
    })
    .join(" ");
}

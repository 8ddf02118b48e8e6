/** striped: `COUNT CHUNK_SECTORS (DEVICE OFFSET)…` (dm-stripe.c). */
import type { DevNumber } from "../../dev-number.ts";
import { formatDevNumber } from "../../dev-number.ts";
import { sectors } from "../../units.ts";
import type { Sectors } from "../../units.ts";
import { FieldReader } from "./fields.ts";

export interface Stripe {
  readonly device: DevNumber;
  readonly offsetSectors: Sectors;
}

export interface StripedTable {
  readonly type: "striped";
  readonly chunkSectors: Sectors;
  readonly stripes: readonly Stripe[];
}

export interface StripedStatus {
  readonly type: "striped";
  readonly stripes: readonly { readonly device: DevNumber; readonly alive: boolean }[];
}

/** More than any array has; a bound for what is read. */
const MAX_STRIPES = 65_536;

export function stripedToParams(table: Omit<StripedTable, "type">): string {
  const stripes = table.stripes.map(
    (stripe) => `${formatDevNumber(stripe.device)} ${stripe.offsetSectors}`,
  );
  return [stripes.length, table.chunkSectors, ...stripes].join(" ");
}

export function stripedFromParams(params: string): StripedTable {
  const fields = new FieldReader("striped table", params);
  const count = fields.integer("number of stripes", MAX_STRIPES);
  const chunkSectors = sectors(fields.u64("chunk in sectors"));
  const stripes = Array.from({ length: count }, () => ({
    device: fields.device("stripe's device"),
    offsetSectors: sectors(fields.u64("stripe's offset in sectors")),
  }));
  return { type: "striped", chunkSectors, stripes };
}

/** `COUNT DEVICE… 1 LETTERS`: A is alive, D has failed. */
export function stripedFromStatus(line: string): StripedStatus {
  const fields = new FieldReader("striped status", line);
  const count = fields.integer("number of stripes", MAX_STRIPES);
  const devices = Array.from({ length: count }, () => fields.device("stripe's device"));
  fields.integer("number of words", MAX_STRIPES);
  const letters = fields.text("health letters");
  return {
    type: "striped",
    stripes: devices.map((device, index) => ({ device, alive: letters[index] === "A" })),
  };
}

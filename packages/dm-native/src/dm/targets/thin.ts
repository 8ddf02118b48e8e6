/** thin: `POOL ID [EXTERNAL_ORIGIN]` (dm-thin.c, thin-provisioning.rst). */
import type { DevNumber } from "../../dev-number.ts";
import { formatDevNumber } from "../../dev-number.ts";
import { MAX_THIN_ID, sectors, thinId } from "../../units.ts";
import type { Sectors, ThinId } from "../../units.ts";
import { FieldReader } from "./fields.ts";

export interface ThinTable {
  readonly type: "thin";
  readonly pool: DevNumber;
  readonly id: ThinId;
  /** Reads of unmapped blocks go there. */
  readonly externalOrigin: DevNumber | undefined;
}

export type ThinStatus =
  | {
      readonly type: "thin";
      readonly state: "working";
      readonly mappedSectors: Sectors;
      /** Undefined while nothing is mapped. */
      readonly highestMappedSector: Sectors | undefined;
    }
  /** "-": the device is not set up (its table is not live). */
  | { readonly type: "thin"; readonly state: "inactive" }
  /** The pool failed, or the device's mappings can't be read. */
  | { readonly type: "thin"; readonly state: "failed" | "error" };

export function thinToParams(
  table: Omit<ThinTable, "type" | "externalOrigin"> & { readonly externalOrigin?: DevNumber },
): string {
  const head = `${formatDevNumber(table.pool)} ${table.id}`;
  return table.externalOrigin === undefined
    ? head
    : `${head} ${formatDevNumber(table.externalOrigin)}`;
}

export function thinFromParams(params: string): ThinTable {
  const fields = new FieldReader("thin table", params);
  return {
    type: "thin",
    pool: fields.device("pool"),
    id: thinId(fields.integer("thin id", MAX_THIN_ID)),
    externalOrigin: fields.atEnd ? undefined : fields.device("external origin"),
  };
}

export function thinFromStatus(line: string): ThinStatus {
  const fields = new FieldReader("thin status", line);
  if (fields.peek() === "Fail") return { type: "thin", state: "failed" };
  if (fields.peek() === "Error") return { type: "thin", state: "error" };
  if (fields.peek() === "-") return { type: "thin", state: "inactive" };
  const mappedSectors = sectors(fields.u64("mapped sectors"));
  const highest = fields.u64OrDash("highest mapped sector");
  return {
    type: "thin",
    state: "working",
    mappedSectors,
    highestMappedSector: highest === undefined ? undefined : sectors(highest),
  };
}

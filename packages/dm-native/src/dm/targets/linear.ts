/** linear: `DEVICE OFFSET` (dm-linear.c). Its status line is empty. */
import type { DevNumber } from "../../dev-number.ts";
import { formatDevNumber } from "../../dev-number.ts";
import { sectors } from "../../units.ts";
import type { Sectors } from "../../units.ts";
import { FieldReader } from "./fields.ts";

export interface LinearTable {
  readonly type: "linear";
  readonly device: DevNumber;
  readonly offsetSectors: Sectors;
}

export function linearToParams(table: Omit<LinearTable, "type">): string {
  return `${formatDevNumber(table.device)} ${table.offsetSectors}`;
}

export function linearFromParams(params: string): LinearTable {
  const fields = new FieldReader("linear table", params);
  return {
    type: "linear",
    device: fields.device("device"),
    offsetSectors: sectors(fields.u64("offset in sectors")),
  };
}

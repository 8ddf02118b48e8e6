/** All targets that this package knows, by the kernel's type; others pass through as they are. */
import type { Sectors } from "../../units.ts";
import type { DmTarget } from "../device-mapper.ts";
import { delayFromParams, delayFromStatus, delayToParams } from "./delay.ts";
import type { DelayStatus, DelayTable } from "./delay.ts";
import { errorFromParams, errorToParams, zeroFromParams, zeroToParams } from "./error-zero.ts";
import type { ErrorTable, ZeroTable } from "./error-zero.ts";
import { flakeyFromParams, flakeyToParams } from "./flakey.ts";
import type { FlakeyTable } from "./flakey.ts";
import { linearFromParams, linearToParams } from "./linear.ts";
import type { LinearTable } from "./linear.ts";
import { stripedFromParams, stripedFromStatus, stripedToParams } from "./striped.ts";
import type { StripedStatus, StripedTable } from "./striped.ts";
import { thinPoolFromParams, thinPoolFromStatus, thinPoolToParams } from "./thin-pool.ts";
import type { ThinPoolStatus, ThinPoolTable } from "./thin-pool.ts";
import { thinFromParams, thinFromStatus, thinToParams } from "./thin.ts";
import type { ThinStatus, ThinTable } from "./thin.ts";

export interface UnknownTable {
  readonly type: "unknown";
  readonly kernelType: string;
  readonly params: string;
}

export interface UnknownStatus {
  readonly type: "unknown";
  readonly kernelType: string;
  readonly line: string;
}

export type TargetTable =
  | DelayTable
  | ErrorTable
  | FlakeyTable
  | LinearTable
  | StripedTable
  | ThinPoolTable
  | ThinTable
  | UnknownTable
  | ZeroTable;

export type TargetStatus =
  | DelayStatus
  | StripedStatus
  | ThinPoolStatus
  | ThinStatus
  | UnknownStatus;

const FROM_PARAMS: ReadonlyMap<string, (params: string) => TargetTable> = new Map<
  string,
  (params: string) => TargetTable
>([
  ["delay", delayFromParams],
  ["error", errorFromParams],
  ["flakey", flakeyFromParams],
  ["linear", linearFromParams],
  ["striped", stripedFromParams],
  ["thin", thinFromParams],
  ["thin-pool", thinPoolFromParams],
  ["zero", zeroFromParams],
]);

const FROM_STATUS: ReadonlyMap<string, (line: string) => TargetStatus> = new Map<
  string,
  (line: string) => TargetStatus
>([
  ["delay", delayFromStatus],
  ["striped", stripedFromStatus],
  ["thin", thinFromStatus],
  ["thin-pool", thinPoolFromStatus],
]);

/** What a line of a table says; NATIVE_PARSE where a known target's line can't be read. */
export function parseTargetTable(target: DmTarget): TargetTable {
  const read = FROM_PARAMS.get(target.type);
  if (read !== undefined) return read(target.params);
  return { type: "unknown", kernelType: target.type, params: target.params };
}

/** What a line of a status says; targets without a status of their own are "unknown" too. */
export function parseTargetStatus(target: DmTarget): TargetStatus {
  const read = FROM_STATUS.get(target.type);
  if (read !== undefined) return read(target.params);
  return { type: "unknown", kernelType: target.type, line: target.params };
}

function toParams(table: TargetTable): string {
  switch (table.type) {
    case "delay":
      return delayToParams(table);
    case "error":
      return errorToParams();
    case "flakey":
      return flakeyToParams(table);
    case "linear":
      return linearToParams(table);
    case "striped":
      return stripedToParams(table);
    case "thin": {
      const { externalOrigin, ...rest } = table;
      return thinToParams(externalOrigin === undefined ? rest : { ...rest, externalOrigin });
    }
    case "thin-pool":
      return thinPoolToParams(table);
    case "zero":
      return zeroToParams();
    default:
      return table.params;
  }
}

/** A line of a table, for `DeviceMapper.loadTable`. */
export function makeTarget(
  startSectors: Sectors,
  lengthSectors: Sectors,
  table: TargetTable,
): DmTarget {
  const type = table.type === "unknown" ? table.kernelType : table.type;
  return { startSectors, lengthSectors, type, params: toParams(table) };
}

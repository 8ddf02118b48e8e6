/** The dm tables that the records mean, and the pool's state as its status line tells it. */
import {
  dataBlocks,
  type DevNumber,
  type DmTableReply,
  type DmTarget,
  sectors,
  SECTOR_SIZE_BYTES,
  type ThinPoolStatus,
  thinPoolFromStatus,
  thinPoolToParams,
  thinToParams,
} from "@thinpool/dm-native";
import type { Backing } from "./backing.ts";
import type { PoolState } from "./device.ts";
import { PoolError } from "./errors.ts";
import type { DeviceRecord, PoolRecord } from "./store/ledger.ts";

/** The target's length is the data device's in whole blocks. New blocks are zeroed (INV-11). */
export function poolTable(
  record: Pick<PoolRecord, "dataBytes" | "blockSectors" | "lowWaterBlocks" | "discard">,
  backing: Backing,
  options: { readonly readOnly?: boolean; readonly errorIfNoSpace?: boolean } = {},
): readonly DmTarget[] {
  const totalSectors = record.dataBytes / SECTOR_SIZE_BYTES;
  return [
    {
      startSectors: sectors(0),
      lengthSectors: sectors(totalSectors - (totalSectors % record.blockSectors)),
      type: "thin-pool",
      params: thinPoolToParams({
        metadata: backing.metadata.dev,
        data: backing.data.dev,
        blockSectors: sectors(record.blockSectors),
        lowWater: dataBlocks(record.lowWaterBlocks),
        discard: record.discard,
        readOnly: options.readOnly === true,
        errorIfNoSpace: options.errorIfNoSpace === true,
      }),
    },
  ];
}

/** Reads of what the device does not have go to `externalOrigin`. */
export function thinTable(
  pool: DevNumber,
  device: DeviceRecord,
  externalOrigin?: DevNumber,
): readonly DmTarget[] {
  return [
    {
      startSectors: sectors(0),
      lengthSectors: sectors(device.sizeBytes / SECTOR_SIZE_BYTES),
      type: "thin",
      params: thinToParams({
        pool,
        id: device.thinId,
        ...(externalOrigin === undefined ? {} : { externalOrigin }),
      }),
    },
  ];
}

/** For messages to people. */
export function describeTable(table: readonly DmTarget[]): string {
  const lines = table.map(
    (line) => `${line.startSectors} ${line.lengthSectors} ${line.type} ${line.params}`,
  );
  return lines.length === 0 ? "no table" : `"${lines.join("; ")}"`;
}

export function poolStatusOf(reply: DmTableReply, folder: string): ThinPoolStatus {
  const line = reply.targets[0];
  if (line?.type === "thin-pool") return thinPoolFromStatus(line.params);
  throw new PoolError({
    code: "POOL_MISMATCH",
    operation: "status",
    object: folder,
    reason: `the pool's dm device is ${line === undefined ? "empty" : `a ${line.type}`}, no thin-pool`,
    hint: "Somebody changed its table: close the pool and open it again.",
  });
}

export function poolStateOf(status: ThinPoolStatus): PoolState {
  if (status.state !== "working") return "failed";
  if (status.needsCheck) return "needs-check";
  if (status.mode === "ro") return "read-only";
  return status.mode === "out_of_data_space" ? "out-of-data" : "working";
}

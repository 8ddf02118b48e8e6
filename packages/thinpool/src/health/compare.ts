/** The metadata against the ledger's records: pure, for pools open or closed. */
import type { DeviceRecord, DoubtfulThinIds, PoolRecord } from "../store/ledger.ts";
import type { MetadataDevice, MetadataListing } from "../tools/metadata-tools.ts";
import type { Finding } from "./findings.ts";
import { isLeftover, leftoverReason } from "./thin-proof.ts";
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";

export interface LedgerMoment {
  readonly pool: PoolRecord;
  /** All rows, those that don't count (any more) included. */
  readonly devices: readonly DeviceRecord[];
  readonly thinIds: DoubtfulThinIds;
  /** Then what is not finished is under way. */
  readonly open: boolean;
}

export function compare(moment: LedgerMoment, listing: MetadataListing): readonly Finding[] {
  const current = listing.superblock.transactionId;
  const { pool } = moment;
  const last = pool.lastTransactionId;
  const findings: Finding[] = [...compareGeometry(pool, listing)];
  if (current !== last && current !== last - 1n) {
    findings.push({
      code: "POOL_TRANSACTION",
      object: `pool ${pool.uuid}`,
      reason: `the metadata is at transaction ${current}, the ledger at ${last}`,
      action: "Put the ledger and the metadata back that belong together: restore a backup.",
    });
  }
  const inKernel = new Map(listing.devices.map((device) => [Number(device.thinId), device]));
  for (const record of moment.devices) {
    const device = inKernel.get(record.thinId);
    inKernel.delete(record.thinId);
    findings.push(...compareDevice(record, device, current, moment));
  }
  for (const device of inKernel.values()) {
    const takenBackAt = moment.thinIds.takenBack.get(Number(device.thinId));
    findings.push(isLeftover(device, takenBackAt) ? leftover(device) : orphan(device, moment));
  }
  return findings;
}

function compareDevice(
  record: DeviceRecord,
  device: MetadataDevice | undefined,
  current: bigint,
  moment: LedgerMoment,
): readonly Finding[] {
  const { pool, open } = moment;
  const deleting = record.deletingTransactionId;
  const gone = deleting !== undefined && deleting <= current;
  if (gone) return device === undefined ? [] : [orphan(device, moment)];
  if (record.filling && open) return [];
  if (record.transactionId > current || deleting !== undefined || record.filling) {
    const what = deleting === undefined ? "creation" : "removal";
    return [
      {
        code: "UNSETTLED",
        object: record.name,
        reason: `its ${what} in transaction ${deleting ?? record.transactionId} did not end`,
        action: "Open the pool: opening settles it.",
      },
    ];
  }
  if (device === undefined) {
    return [
      {
        code: "LOST",
        object: record.name,
        reason: `the metadata has no thin device ${record.thinId}`,
        action: "Its data is lost: restore a backup of the metadata, or remove the device.",
      },
    ];
  }
  const findings: Finding[] = [];
  const made = device.transactionId;
  // The kernel notes the number at which it was made, its record the one that then followed; those of
  // an adopted pool that never counted have the pool's own.
  if (made + 1n !== record.transactionId && made !== record.transactionId) {
    findings.push({
      code: "DEVICE_TRANSACTION",
      object: record.name,
      reason: `thin device ${record.thinId} was made at transaction ${made}, its record says ${record.transactionId}`,
      action: "It may be another device under the same id: look at its content before using it.",
    });
  }
  const end = device.highestBlock;
  const blockBytes = pool.blockSectors * SECTOR_SIZE_BYTES;
  if (end !== undefined && end * blockBytes >= record.sizeBytes) {
    findings.push({
      code: "DEVICE_SIZE",
      object: record.name,
      reason: `block ${end} is mapped, past its ${record.sizeBytes} bytes`,
      action: "It was larger once, or is another device: grow it to see all of it.",
    });
  }
  return findings;
}

function compareGeometry(pool: PoolRecord, listing: MetadataListing): readonly Finding[] {
  const { blockSectors, dataBlocks } = listing.superblock;
  const object = `pool ${pool.uuid}`;
  const action = "Put the pool's own metadata back: this may be another pool's.";
  if (blockSectors !== pool.blockSectors) {
    const reason = `the metadata has blocks of ${blockSectors} sectors, the ledger says ${pool.blockSectors}`;
    return [{ code: "POOL_GEOMETRY", object, reason, action }];
  }
  const room = pool.dataBytes / (blockSectors * SECTOR_SIZE_BYTES);
  if (dataBlocks <= room) return [];
  const reason = `the metadata has ${dataBlocks} data blocks, the data device ${room}`;
  return [{ code: "POOL_GEOMETRY", object, reason, action }];
}

function leftover(device: MetadataDevice): Finding {
  return {
    code: "UNSETTLED",
    object: `thin id ${device.thinId}`,
    reason: leftoverReason(device),
    action: "Open the pool anew: opening removes it.",
  };
}

function orphan(device: MetadataDevice, { thinIds }: LedgerMoment): Finding {
  const met = thinIds.foreign.has(Number(device.thinId))
    ? "; a creation met it and left it alone"
    : "";
  return {
    code: "ORPHAN",
    object: `thin id ${device.thinId}`,
    reason: `no record explains it; it maps ${device.mappedBlocks} blocks and was made at transaction ${device.transactionId}${met}`,
    action: "If nothing needs it, remove the orphan by its thin id.",
  };
}

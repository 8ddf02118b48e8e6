/** flakey: `DEVICE OFFSET UP DOWN [COUNT FEATURE…]` (dm-flakey.c): a disk that fails now and then. */
import type { DevNumber } from "../../dev-number.ts";
import { formatDevNumber } from "../../dev-number.ts";
import { sectors } from "../../units.ts";
import type { Sectors } from "../../units.ts";
import { FieldReader } from "./fields.ts";

export interface FlakeyTable {
  readonly type: "flakey";
  readonly device: DevNumber;
  readonly offsetSectors: Sectors;
  /** Seconds of good behaviour, then seconds of failure. */
  readonly upSeconds: number;
  readonly downSeconds: number;
  /** The kernel's words in order: "drop_writes", "error_reads", "corrupt_bio_byte", "224", … */
  readonly features: readonly string[];
}

const MAX_SECONDS = 0xffff_ffff;
const MAX_FEATURES = 64;

export function flakeyToParams(table: Omit<FlakeyTable, "type">): string {
  const { device, offsetSectors, upSeconds, downSeconds, features } = table;
  const head = `${formatDevNumber(device)} ${offsetSectors} ${upSeconds} ${downSeconds}`;
  return features.length === 0 ? head : `${head} ${features.length} ${features.join(" ")}`;
}

export function flakeyFromParams(params: string): FlakeyTable {
  const fields = new FieldReader("flakey table", params);
  const device = fields.device("device");
  const offsetSectors = sectors(fields.u64("offset in sectors"));
  const upSeconds = fields.integer("up interval in seconds", MAX_SECONDS);
  const downSeconds = fields.integer("down interval in seconds", MAX_SECONDS);
  const count = fields.atEnd ? 0 : fields.integer("number of features", MAX_FEATURES);
  const features = Array.from({ length: count }, () => fields.text("feature"));
  return { type: "flakey", device, offsetSectors, upSeconds, downSeconds, features };
}

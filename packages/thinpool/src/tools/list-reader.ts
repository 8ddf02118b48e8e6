/** What thin_ls prints: one line of numbers for each device. */
import { thinId, transactionId } from "@thinpool/dm-native";
import type { ThinUsage } from "./metadata-tools.ts";

export const LIST_COLUMNS = "DEV,MAPPED_BYTES,EXCLUSIVE_BYTES,SHARED_BYTES,TRANSACTION";
const COLUMN_COUNT = 5;

/** SyntaxError names the line. */
export function readListLine(line: string): ThinUsage {
  const words = line.trim().split(/\s+/);
  if (words.length !== COLUMN_COUNT || !words.every((word) => /^\d{1,20}$/.test(word))) {
    throw new SyntaxError(`${JSON.stringify(line.slice(0, 200))} is not ${LIST_COLUMNS}`);
  }
  const [id = 0n, mappedBytes = 0n, exclusiveBytes = 0n, sharedBytes = 0n, transaction = 0n] =
    words.map(BigInt);
  return {
    thinId: thinId(Number(id)),
    mappedBytes,
    exclusiveBytes,
    sharedBytes,
    transactionId: transactionId(transaction),
  };
}

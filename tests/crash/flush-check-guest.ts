/** In the lab's guest: disks as a power cut left them, one after another, mounted and checked. */
import { writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { linuxKernel } from "@thinpool/thinpool";
import { Finding } from "./finding.ts";
import { checkFolder, type LoadRecord } from "./guest-check.ts";

export interface FlushCheckTask {
  readonly disks: readonly {
    readonly number: number;
    readonly record: LoadRecord;
  }[];
}

/** The lab's name of the disk with this number. */
export function diskName(number: number): string {
  return `flush-${number}`;
}

const DISK = "/mnt/disk";

async function main(task: FlushCheckTask): Promise<void> {
  await using kernel = linuxKernel();
  await mkdir(DISK, { recursive: true });
  for (const { number, record } of task.disks) {
    let finding: { readonly kind: string; readonly message: string } | undefined;
    try {
      const source = `/dev/disk/lab/${diskName(number)}`;
      await kernel.mounts.mount({ source, type: "ext4", target: DISK, flags: {} });
      try {
        await checkFolder(kernel, `${DISK}/pool`, record);
      } finally {
        await kernel.mounts.unmount(DISK);
      }
    } catch (error) {
      const kind = error instanceof Finding ? error.kind : "failed";
      finding = { kind, message: error instanceof Error ? error.message : String(error) };
    }
    writeSync(1, `disk ${number} ${JSON.stringify(finding ?? {})}\n`);
  }
}

// The host imports the types and the names.
if (import.meta.main) await main(JSON.parse(process.argv[2] ?? "") as FlushCheckTask);

/** In the lab's guest: disks as a power cut left them, one after another, mounted and checked. */
import { writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { linuxKernel } from "@thinpool/thinpool";
import { Finding } from "./finding.ts";
import { checkFolder, type LoadRecord } from "./guest-check.ts";

export interface FlushCheckTask {
  readonly disks: readonly {
    readonly number: number;
    readonly file: string;
    readonly record: LoadRecord;
  }[];
}

const DISK = "/mnt/disk";
const task = JSON.parse(process.argv[2] ?? "") as FlushCheckTask;
await using kernel = linuxKernel();
await mkdir(DISK, { recursive: true });

for (const { number, file, record } of task.disks) {
  let finding: { readonly kind: string; readonly message: string } | undefined;
  const loop = await kernel.loops.attach({ backingFile: file });
  try {
    await kernel.mounts.mount({ source: loop.path, type: "ext4", target: DISK, flags: {} });
    try {
      await checkFolder(kernel, `${DISK}/pool`, record);
    } finally {
      await kernel.mounts.unmount(DISK);
    }
  } catch (error) {
    const kind = error instanceof Finding ? error.kind : "failed";
    finding = { kind, message: error instanceof Error ? error.message : String(error) };
  }
  await kernel.loops.detach(loop.path);
  writeSync(1, `disk ${number} ${JSON.stringify(finding ?? {})}\n`);
}

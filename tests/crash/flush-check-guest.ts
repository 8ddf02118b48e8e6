/** In the lab's guest: disks as a power cut left them, one after another, mounted and checked. */
import { writeSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dmName, linearToParams, sectors } from "@thinpool/dm-native";
import { linuxKernel } from "@thinpool/thinpool";
import { Finding } from "./finding.ts";
import { checkFolder, type LoadRecord } from "./guest-check.ts";
import { ToolShell } from "./guest-tools.ts";

export interface FlushCheckTask {
  /** One device has them all, one behind the other: the lab takes few, and a boot costs as much as ten checks. */
  readonly device: string;
  readonly diskBytes: number;
  readonly disks: readonly {
    readonly number: number;
    readonly record: LoadRecord;
  }[];
}

const SLICE = { name: dmName("soak-slice") } as const;
const DISK = "/mnt/disk";

async function main(task: FlushCheckTask): Promise<void> {
  await using kernel = linuxKernel();
  await using shell = new ToolShell();
  await mkdir(DISK, { recursive: true });
  const device = await kernel.blocks.number(task.device);
  const lengthSectors = sectors(BigInt(task.diskBytes) / 512n);
  for (const [index, { number, record }] of task.disks.entries()) {
    let finding: { readonly kind: string; readonly message: string } | undefined;
    try {
      const offsetSectors = sectors(BigInt(index) * lengthSectors);
      const params = linearToParams({ device, offsetSectors });
      await kernel.dm.createDevice(SLICE.name);
      await using undo = new AsyncDisposableStack();
      undo.defer(async () => void (await kernel.dm.removeDevice(SLICE)));
      const startSectors = sectors(0n);
      await kernel.dm.loadTable(SLICE, [{ startSectors, lengthSectors, type: "linear", params }]);
      await kernel.dm.resume(SLICE);
      const source = `/dev/mapper/${SLICE.name}`;
      await kernel.mounts.mount({ source, type: "ext4", target: DISK, flags: {} });
      undo.defer(() => kernel.mounts.unmount(DISK));
      await checkFolder({ kernel, shell, folder: `${DISK}/pool`, record });
    } catch (error) {
      const kind = error instanceof Finding ? error.kind : "failed";
      finding = { kind, message: error instanceof Error ? error.message : String(error) };
    }
    writeSync(1, `disk ${number} ${JSON.stringify(finding ?? {})}\n`);
  }
}

const [, , given] = process.argv;
// The host imports the types and the names, and compiles it: see compileForGuest.
if (import.meta.main && given !== undefined) await main(JSON.parse(given) as FlushCheckTask);

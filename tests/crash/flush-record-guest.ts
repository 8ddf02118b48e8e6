/**
 * In the lab's guest: a load on a filesystem over dm-log-writes, so that the log has every write and
 * every flush under ledger, metadata and data at once. What is acknowledged is a mark in the log.
 */
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { promisify } from "node:util";
import { dmName, formatDevNumber, sectors } from "@thinpool/dm-native";
import { createPool, linuxKernel } from "@thinpool/thinpool";
import { makeBase, startLoad } from "./guest-load.ts";
import { MARKS } from "./flush-marks.ts";

export interface RecordTask {
  readonly disk: string;
  readonly log: string;
  readonly seed: number;
  readonly workers: number;
  readonly steps: number;
}

const run = promisify(execFile);
const LOGGED = { name: dmName("soak-logged") } as const;
const DISK = "/mnt/disk";
const BACKING = { type: "files", dataBytes: 192n << 20n, metadataBytes: 4n << 20n } as const;

const [, , given] = process.argv;
// The host compiles it: see compileForGuest.
if (given === undefined) process.exit();
const task = JSON.parse(given) as RecordTask;
await using kernel = linuxKernel();
const { dm } = kernel;

const mark = async (text: string): Promise<void> => void (await dm.message(LOGGED, `mark ${text}`));

const [disk, log] = [await kernel.blocks.number(task.disk), await kernel.blocks.number(task.log)];
const lengthSectors = sectors((await kernel.blocks.sizeBytes(task.disk)) / 512n);
await dm.createDevice(LOGGED.name);
await dm.loadTable(LOGGED, [
  {
    startSectors: sectors(0n),
    lengthSectors,
    type: "log-writes",
    params: `${formatDevNumber(disk)} ${formatDevNumber(log)}`,
  },
]);
await dm.resume(LOGGED);
const source = `/dev/mapper/${LOGGED.name}`;
await run("/usr/sbin/mkfs.ext4", ["-q", "-F", source]);
await mkdir(DISK, { recursive: true });
await kernel.mounts.mount({ source, type: "ext4", target: DISK, flags: {} });
await mark(MARKS.mounted);
const folder = `${DISK}/pool`;
const pool = await createPool({ folder, kernel, backing: BACKING, blockSectors: 128n });
await mark(MARKS.created);
await makeBase(pool);
await mark(MARKS.loading);
const states = Array.from({ length: task.workers }, () => ({}));
const { seed, steps } = task;
const acknowledged = (worker: number, number: number): Promise<void> =>
  mark(`${MARKS.acknowledged}.${worker}.${number}`);
await startLoad({ kernel, pool, seed, states, steps, acknowledged }).done;
await pool.close();
await kernel.mounts.unmount(DISK);
await dm.removeDevice(LOGGED);
process.stdout.write("recorded\n");

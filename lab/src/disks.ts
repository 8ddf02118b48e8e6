import { closeSync, fstatSync, ftruncateSync, openSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { LabError } from "./lab-error.ts";
import type { LabDisk } from "./options.ts";

/** Makes the file where it is missing, or longer where it is too short; never shorter. */
export function prepareDisk(disk: LabDisk): void {
  let fd: number;
  try {
    fd = openSync(disk.file, disk.size === undefined ? "r+" : "a+", 0o600);
  } catch (error) {
    throw new LabError(
      `disk ${disk.name}: cannot open ${disk.file}: ${error instanceof Error ? error.message : String(error)}`,
      `give a size to make it: --disk ${disk.name}=${disk.file}:1G`,
    );
  }
  try {
    if (disk.size !== undefined && fstatSync(fd).size < disk.size) lengthen(fd, disk, disk.size);
    if (fstatSync(fd).size === 0) throw new LabError(`disk ${disk.name}: ${disk.file} is empty`);
  } finally {
    closeSync(fd);
  }
}

function lengthen(fd: number, { name, file }: LabDisk, size: number): void {
  try {
    ftruncateSync(fd, size);
  } catch (error) {
    throw new LabError(
      `disk ${name}: ${file} can't be made ${size} bytes long: ${error instanceof Error ? error.message : String(error)}`,
      "give a smaller size, or a file on another filesystem",
    );
  }
}

/** Paths without commas, colons or spaces, which the kernels' command lines give a meaning. */
export function linkDisks(
  disks: readonly LabDisk[],
  folder: string,
): { name: string; file: string }[] {
  return disks.map(({ name, file }) => {
    const link = join(folder, `disk-${name}`);
    symlinkSync(file, link);
    return { name, file: link };
  });
}

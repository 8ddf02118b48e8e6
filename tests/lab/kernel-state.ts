/** What of ours could be left in a kernel: dm devices, loop devices, mounts. Read from /sys and /proc. */
import { existsSync, readdirSync, readFileSync } from "node:fs";

export interface KernelState {
  readonly dmDevices: readonly string[];
  /** The files behind loop devices. */
  readonly loops: readonly string[];
  /** Mount points. */
  readonly mounts: readonly string[];
}

export function kernelState(): KernelState {
  const blocks = readdirSync("/sys/block").toSorted();
  return {
    dmDevices: blocks.flatMap((name) => read(`/sys/block/${name}/dm/name`)),
    loops: blocks.flatMap((name) => read(`/sys/block/${name}/loop/backing_file`)),
    mounts: readFileSync("/proc/self/mountinfo", "utf8")
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[4] ?? ""),
  };
}

/** The one value of a file of /sys; none where the device has no such file. */
function read(path: string): readonly string[] {
  return existsSync(path) ? [readFileSync(path, "utf8").trim()] : [];
}

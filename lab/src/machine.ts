import type { ChildProcess } from "node:child_process";
import type { Duplex, Readable } from "node:stream";
import type { GuestKernel } from "./guest-script.ts";

/** What tests of thin pools need beside the dependencies that modprobe finds itself. */
export const guestModules: readonly string[] = [
  "dm-thin-pool",
  "dm-snapshot",
  "dm-flakey",
  "dm-delay",
  "dm-zero",
  "dm-log-writes",
  "loop",
];

/** What a kernel needs to start. Paths are the host's and hold no comma and no white space. */
export interface MachineStart {
  /** Private folder of this run; removed afterwards. */
  readonly folder: string;
  /** The folder shared with the guest; its file `init` is the guest's first process. */
  readonly control: string;
  /** For the file that is the guest's memory; removed afterwards. */
  readonly memoryFolder: string;
  readonly scratch?: string;
  /** Files of the disks, in the order of the guest's device letters. */
  readonly disks: readonly { readonly name: string; readonly file: string }[];
  readonly memoryMiB: number;
  /** Where it runs; undefined: wherever the host puts it. */
  readonly cpu?: number;
}

/** A kernel that is starting, as the leader of its own process group. */
export interface Machine {
  readonly process: ChildProcess;
  /** The kernel's console: boot messages, and panics. */
  readonly console: readonly Readable[];
  /** The command's stdout. */
  readonly stdout: Readable;
  /** The command's stderr. */
  readonly stderr: Readable;
  /** The terminal of an interactive shell, instead of both; may be the same as `stdout`. */
  readonly terminal: Duplex;
}

/** A kind of kernel that the lab can boot. */
export interface MachineKind {
  readonly defaultMemoryMiB: number;
  /** Processes of which one runs at a time, each waking the next: such a guest is kept to one CPU. */
  readonly takesTurns: boolean;
  readonly guest: GuestKernel;
  /** Device node of the disk with this index. */
  diskNode(index: number): string;
  start(options: MachineStart): Machine;
}

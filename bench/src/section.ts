/** One part of the benchmark. */
import type { Kernel } from "@thinpool/thinpool";
import type { Requirement } from "thinpool-lab";
import type { Bare } from "./peers/bare.ts";
import type { Recorder } from "./record.ts";

/** Both numbers are multiplied by --scale. */
export interface Rounds {
  readonly quick: number;
  readonly full: number;
  /** No further one begins after so long; in a full run after FULL_SECONDS times that. */
  readonly quickSeconds: number;
}

export interface Bench {
  readonly recorder: Recorder;
  readonly kernel: Kernel;
  readonly bare: Bare;
  /** Empty, writable, of the section alone; on ext4 on a disk of the guest's, a file of the host's. */
  readonly folder: string;
  /** The same in the guest's memory: no flush is asked for there. */
  readonly memoryFolder: string;
  /** The same on a disk whose flushes take some 20 ms: a spinning disk's time. */
  readonly slowFolder: string;
  readonly quick: boolean;
  /** 0, 1 and so on: one for each run that is still to be made. */
  rounds(plan: Rounds): Iterable<number>;
  /** 0 to 1; the same row of numbers for the same seed. */
  readonly random: () => number;
}

export interface Section {
  readonly name: string;
  /** One line, said before it runs. */
  readonly what: string;
  /** Of the lab's two. */
  readonly kernel: "uml" | "qemu";
  /** Installed on the host before the run, where missing. */
  readonly needs: readonly Requirement[];
  run(bench: Bench): Promise<void>;
}

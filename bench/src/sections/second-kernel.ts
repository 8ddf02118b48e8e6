/** The pair of engine and C once more on the kernel that users run, with two CPUs. */
import { guestMachine } from "../machine.ts";
import type { Section } from "../section.ts";
import { pairs } from "./pairs.ts";

/** A round takes half a second, and V8 compiles what is called often, in the lab's other kernel after 300. */
const WARM_UP_ROUNDS = 150;

export const secondKernel: Section = {
  name: "second-kernel",
  what: "snapshot and activation on Debian's own kernel: engine, C",
  kernel: "qemu",
  needs: [],
  async run(bench) {
    const { kernel, cpus } = guestMachine();
    bench.recorder.note(`second-kernel: Linux ${kernel} on ${cpus} CPUs, which qemu emulates`);
    const plan = { quick: 40, full: 100, quickSeconds: 25 };
    await pairs(bench, bench.folder, "-second-kernel", { ...plan, warmUp: WARM_UP_ROUNDS });
  },
};

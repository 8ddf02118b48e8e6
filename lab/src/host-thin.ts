import { existsSync } from "node:fs";
import { runProgram } from "./commands.ts";
import { LabError } from "./lab-error.ts";

export type HostThin =
  | { readonly usable: true }
  | { readonly usable: false; readonly why: string; readonly mend: string };

/** Can this process run thin pools on this machine? Loads the kernel's module where it can. */
export function hostThin(): HostThin {
  if (process.getuid?.() !== 0)
    return { usable: false, why: "not root", mend: "run it with sudo, or use the uml kernel" };
  if (!existsSync("/sys/module/dm_thin_pool")) {
    try {
      runProgram("modprobe", ["-a", "dm-thin-pool", "loop"]);
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      return {
        usable: false,
        why: "this kernel has no dm-thin (modprobe dm-thin-pool fails)",
        mend: "use the uml or the qemu kernel, which need nothing of the host's",
      };
    }
  }
  if (!existsSync("/dev/mapper/control"))
    return {
      usable: false,
      why: "/dev/mapper/control is missing",
      mend: "in a container, pass it in with --device /dev/mapper/control, or use the uml kernel",
    };
  return { usable: true };
}

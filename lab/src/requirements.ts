import { isUsable, findProgram } from "./commands.ts";
import type { LabKernel } from "./options.ts";
import { registersTooLarge } from "./uml-registers.ts";

/** A Debian package and the file or program by whose presence we know it. */
export interface Requirement {
  readonly package: string;
  /** A program, or an absolute path. */
  readonly needs: string;
}

/** What tests of thin pools run in every guest. */
const tools: readonly Requirement[] = [
  { package: "kmod", needs: "modprobe" },
  { package: "dmsetup", needs: "dmsetup" },
  { package: "thin-provisioning-tools", needs: "thin_check" },
  { package: "e2fsprogs", needs: "mkfs.ext4" },
  { package: "xfsprogs", needs: "mkfs.xfs" },
  { package: "util-linux", needs: "setpriv" },
];

const guestTools: readonly Requirement[] = [
  ...tools,
  { package: "udev", needs: "/lib/systemd/systemd-udevd" },
  { package: "iproute2", needs: "ip" },
  // The client in another language: tests/lab/python-client.py.
  {
    package: "python3-websockets",
    needs: "/usr/lib/python3/dist-packages/websockets/version.py",
  },
];

/** To compile a program of C. */
export const compiler: readonly Requirement[] = [
  { package: "gcc", needs: "gcc" },
  { package: "libc6-dev", needs: "/usr/include/stdio.h" },
];

const requirements: Readonly<Record<LabKernel, readonly Requirement[]>> = {
  uml: [{ package: "user-mode-linux", needs: "linux.uml" }, ...guestTools],
  qemu: [
    { package: "qemu-system-x86", needs: "qemu-system-x86_64" },
    { package: "seabios", needs: "/usr/share/seabios/bios-256k.bin" },
    // By its documentation: the program's path is the same in the package that is not static.
    { package: "busybox-static", needs: "/usr/share/doc/busybox-static" },
    { package: "cpio", needs: "cpio" },
    { package: "xz-utils", needs: "xz" },
    ...guestTools,
  ],
  host: tools,
};

/** What a kernel needs. */
export function requirementsOf(kernel: LabKernel): readonly Requirement[] {
  const needsCompiler = kernel === "uml" && registersTooLarge();
  return [...requirements[kernel], ...(needsCompiler ? compiler : [])];
}

/** What of it this machine lacks. */
export function missing(wanted: readonly Requirement[]): Requirement[] {
  return wanted.filter(({ needs }) =>
    needs.startsWith("/") ? !isUsable(needs) : findProgram(needs) === undefined,
  );
}

/** The command that installs packages, for a user who is not root to read. */
export function installCommand(packages: readonly string[]): string {
  return `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages.join(" ")}`;
}

import { spawn } from "node:child_process";
import type { Duplex, Readable } from "node:stream";
import { pinned } from "./cpu.ts";
import { guestModules, type MachineKind, type MachineStart } from "./machine.ts";
import { registersLibrary, registersTooLarge } from "./uml-registers.ts";

/** User Mode Linux: Linux as an ordinary process, the host's root its root through hostfs. */
export const uml: MachineKind = {
  defaultMemoryMiB: 1024,
  takesTurns: true,
  guest: {
    name: "uml",
    mountControl: 'mount -t hostfs -o "$control" lab "$1"',
    mountScratch: 'mount -t hostfs -o "$1" lab "$1"',
    // The package's modules are not where modprobe looks; one modprobe is far faster than insmods.
    loadModules: `version=$(</proc/sys/kernel/osrelease)
mkdir -p /run/lab/modules/lib/modules
ln -s /usr/lib/uml/modules/$version /run/lab/modules/lib/modules/$version
modprobe -d /run/lab/modules -a dm-dust ${guestModules.join(" ")} || fail "cannot load the modules"`,
    // Raw before the first byte: a terminal line would turn \\n into \\r\\n and echo.
    openChannels: `exec 3<>/dev/ttyS0 4<>/dev/ttyS1
stty raw -echo <&3; stty raw -echo <&4`,
    terminal: "/dev/ttyS0",
  },
  diskNode: (index) => `/dev/ubd${letter(index)}`,
  start(options: MachineStart) {
    const child = spawn(
      ...pinned(options.cpu, "linux.uml", [
        `mem=${options.memoryMiB}M`,
        `uml_dir=${options.folder}/`,
        "umid=uml",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        `init=${options.control}/init`,
        "con=null",
        "con0=fd:0,fd:1",
        "ssl=null",
        "ssl0=fd:3,fd:3",
        "ssl1=null,fd:4",
        ...options.disks.map((disk, index) => `ubd${letter(index)}=${disk.file}`),
        "quiet",
        // What is fastest for RAID 6 is not measured: 0.8 s of each boot, and nothing here has such a RAID.
        "initcall_blacklist=raid6_select_algo",
        // 256 pairs of terminals of the old kind, which nothing here opens: 0.4 s.
        "pty.legacy_count=0",
        // A panic ends the process instead of hanging.
        "panic=-1",
      ]),
      {
        detached: true,
        stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
        env: {
          PATH: process.env["PATH"],
          TMPDIR: options.memoryFolder,
          ...(registersTooLarge() ? { LD_PRELOAD: registersLibrary() } : {}),
        },
      },
    );
    const [, stdout, stderr, terminal, second] = child.stdio;
    return {
      process: child,
      console: [stdout as Readable, stderr as Readable],
      stdout: terminal as Duplex,
      stderr: second as Readable,
      terminal: terminal as Duplex,
    };
  },
};

function letter(index: number): string {
  return String.fromCodePoint("a".codePointAt(0)! + index);
}

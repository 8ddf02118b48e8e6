import { spawn } from "node:child_process";
import type { Duplex, Readable } from "node:stream";
import type { MachineKind, MachineStart } from "./machine.ts";

/** In the order of their dependencies: user-mode-linux comes without an index for modprobe. */
const modules: readonly string[] = [
  "md/dm-mod",
  "md/dm-bufio",
  "md/dm-bio-prison",
  "md/persistent-data/dm-persistent-data",
  "md/dm-thin-pool",
  "md/dm-flakey",
  "md/dm-delay",
  "md/dm-dust",
  "md/dm-zero",
  "md/dm-log-writes",
  "md/dm-snapshot",
  "block/loop",
];

/** User Mode Linux: Linux as an ordinary process, the host's root its root through hostfs. */
export const uml: MachineKind = {
  defaultMemoryMiB: 1024,
  guest: {
    name: "uml",
    mountControl: 'mount -t hostfs -o "$control" lab "$1"',
    mountScratch: 'mount -t hostfs -o "$1" lab "$1"',
    loadModules: `modules=/usr/lib/uml/modules/$(uname -r)/kernel/drivers
for module in ${modules.join(" ")}; do
  insmod $modules/$module.ko || fail "no module $module"
done`,
    // Raw before the first byte: a terminal line would turn \\n into \\r\\n and echo.
    openChannels: `exec 3<>/dev/ttyS0 4<>/dev/ttyS1
stty raw -echo <&3; stty raw -echo <&4`,
    terminal: "/dev/ttyS0",
  },
  diskNode: (index) => `/dev/ubd${letter(index)}`,
  start(options: MachineStart) {
    const child = spawn(
      "linux.uml",
      [
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
        // A panic ends the process instead of hanging.
        "panic=-1",
      ],
      {
        detached: true,
        stdio: ["ignore", "pipe", "pipe", "pipe", "pipe"],
        env: { PATH: process.env["PATH"], TMPDIR: options.memoryFolder },
      },
    );
    const [, stdout, stderr, terminal, second] = child.stdio;
    return {
      process: child,
      console: [stdout as Readable, stderr as Readable],
      stdout: terminal as Duplex,
      stderr: second as Readable,
      stdin: terminal as Duplex,
    };
  },
};

function letter(index: number): string {
  return String.fromCodePoint("a".codePointAt(0)! + index);
}

import { spawn } from "node:child_process";
import type { Duplex, Readable } from "node:stream";
import { quote } from "./guest-script.ts";
import type { MachineKind, MachineStart } from "./machine.ts";
import { guestModulesOfQemu, type UnpackedKernel } from "./qemu-kernel.ts";

/** Of one 9p message; larger means fewer round trips when node reads its files. */
const ninePMount = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288";

/**
 * Debian's own kernel in qemu, emulated (no /dev/kvm: nested virtualisation hangs on some
 * machines), with two CPUs that really run at the same time.
 */
export function qemu(kernel: UnpackedKernel): MachineKind {
  return {
    defaultMemoryMiB: 2048,
    takesTurns: false,
    guest: {
      name: "qemu",
      mountControl: `${ninePMount},cache=none control "$1"`,
      mountScratch: `${ninePMount},cache=none scratch "$1"`,
      // Not in /lib/modules: the kernel's own calls of modprobe need to be told where, too.
      loadModules: `cat > /run/lab/bin/load-module <<'END'
#!/bin/sh
exec /sbin/modprobe -d ${quote(kernel.folder)} "$@"
END
chmod 0755 /run/lab/bin/load-module
echo /run/lab/bin/load-module > /proc/sys/kernel/modprobe
/run/lab/bin/load-module -a ${guestModulesOfQemu.join(" ")} || fail "cannot load the modules"`,
      // The first number is the driver's own; ports appear a moment after their driver. 100 * 0.1 s.
      openChannels: `for try in {1..100}; do
  out=$(echo /dev/vport*p1) err=$(echo /dev/vport*p2)
  if [ -c "$out" ] && [ -c "$err" ]; then break; fi
  sleep 0.1
done
[ -c "$out" ] && [ -c "$err" ] || fail "no channels"
exec 3>$out 4>$err`,
      terminal: "/dev/hvc0",
    },
    diskNode: (index) => `/dev/vd${String.fromCodePoint("a".codePointAt(0)! + index)}`,
    start(options: MachineStart) {
      const child = spawn("qemu-system-x86_64", qemuArguments(kernel, options), {
        detached: true,
        // Extra pipes of Node are socket pairs, which is what a chardev's fd must be.
        stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe"],
        env: { PATH: process.env["PATH"] },
      });
      // The type of `stdio` knows five at most.
      const streams: readonly unknown[] = child.stdio;
      const [, console, errors, stdout, stderr, terminal] = streams;
      return {
        process: child,
        console: [console as Readable, errors as Readable],
        stdout: stdout as Readable,
        stderr: stderr as Readable,
        terminal: terminal as Duplex,
      };
    },
  };
}

function share(path: string, tag: string, readonly: boolean): string[] {
  const access = readonly ? ",readonly=on" : "";
  // multidevs=remap: the host's folders lie on several devices, whose inode numbers may clash.
  return [
    "-virtfs",
    `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap${access}`,
  ];
}

function qemuArguments(kernel: UnpackedKernel, options: MachineStart): string[] {
  const append = `console=ttyS0 quiet panic=-1 mitigations=off labinit=${options.control}/init`;
  // One host thread for both CPUs: with a thread each, qemu 7.2 now and then runs stale code after
  // the guest has patched it (kernel Oops at boot, SIGSEGV in Node's compiled JavaScript).
  const machine = `-nodefaults -no-user-config -no-reboot -display none
    -accel tcg,thread=single -cpu max -smp 2 -m ${options.memoryMiB}M
    -serial stdio -device virtio-rng-pci -device virtio-serial-pci,max_ports=4
    -chardev socket,id=terminal,fd=5 -device virtconsole,nr=0,chardev=terminal
    -chardev socket,id=out,fd=3 -device virtserialport,nr=1,chardev=out
    -chardev socket,id=err,fd=4 -device virtserialport,nr=2,chardev=err`;
  return [
    ...machine.split(/\s+/),
    "-kernel",
    kernel.image,
    "-initrd",
    kernel.initrd,
    "-append",
    append,
    ...share("/", "root", true),
    ...share(options.control, "control", false),
    ...(options.scratch === undefined ? [] : share(options.scratch, "scratch", false)),
    ...options.disks.flatMap(({ name, file }, index) => [
      "-drive",
      `if=none,id=disk${index},file=${file},format=raw,cache=writeback,discard=unmap`,
      "-device",
      `virtio-blk-pci,drive=disk${index},serial=${name}`,
    ]),
  ];
}

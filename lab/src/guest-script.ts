import type { GuestMount } from "./guest-mounts.ts";
import { diskVariable } from "./options.ts";

/** How a kernel differs from the other inside the guest. All are lines of bash. */
export interface GuestKernel {
  readonly name: "uml" | "qemu";
  /** Mounts the host folder `$control`, shared with this run, on `$1`. */
  readonly mountControl: string;
  /** Mounts the writable scratch folder, on the host at `$1`, on `$1`. */
  readonly mountScratch: string;
  /** Loads the modules. */
  readonly loadModules: string;
  /** Opens fd 3 and 4: to the host's stdout and stderr, clean of any translation. */
  readonly openChannels: string;
  /** The terminal of an interactive shell. */
  readonly terminal: string;
}

export interface GuestScript {
  readonly kernel: GuestKernel;
  /** Host folder shared with the guest. */
  readonly control: string;
  readonly mounts: readonly GuestMount[];
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Program and arguments; empty: `bash`. */
  readonly command: readonly string[];
  readonly uid?: number;
  readonly udev: boolean;
  /** Device node of each disk. */
  readonly disks: readonly { readonly name: string; readonly node: string }[];
  /** Where stdin comes from. */
  readonly stdin: "none" | "file" | { readonly rows: number; readonly columns: number };
}

/** Where the guest keeps what belongs to the lab. */
const lab = "/run/lab";
export const controlFiles = {
  /** Made when the command starts. */
  started: "started",
  /** The command's exit code; written last, after sync. */
  exitCode: "exit-code",
  /** The guest's script. */
  init: "init",
  /** The guest's mounts, as an fstab. */
  mounts: "mounts",
  /** What the command reads as stdin. */
  stdin: "stdin",
} as const;

/** bash: one word, whatever it holds. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The script that runs as the guest's first process. Its own output goes to the console. */
export function guestScript(script: GuestScript): string {
  const { kernel } = script;
  return `#!/bin/bash
# First process of the lab's guest; made anew for each run.
export PATH=${quote(script.path)}
off() { sync; echo o > /proc/sysrq-trigger; sleep 60; }
fail() { echo "lab: $1"; off; }

mount -t proc proc /proc || fail "no /proc"
# Each process costs about 0.1 s in uml: no helper per kernel event, and few commands below.
[ ! -e /proc/sys/kernel/hotplug ] || echo > /proc/sys/kernel/hotplug
mount -t sysfs sys /sys
# The host's root, untouched, from which folders below an empty one are shown again. It is bound
# on /mnt first: /run itself becomes an empty folder.
mount --bind / /mnt || fail "cannot bind the root"
mount -t tmpfs -o mode=0755 run /run
mkdir -p ${lab}/host ${lab}/control ${lab}/bin
mount --move /mnt ${lab}/host || fail "cannot move the root"
mountpoint -q /dev || mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin; ln -s fd/1 /dev/stdout; ln -s fd/2 /dev/stderr
control=${quote(script.control)}
mount_control() { ${kernel.mountControl}; }
mount_scratch() { ${kernel.mountScratch}; }
mount_control ${lab}/control || fail "no control folder"
mount -a -T ${lab}/control/${controlFiles.mounts} || fail "cannot mount all folders"
${script.mounts.map(extraMount).join("")}
${kernel.loadModules}
ip link set lo up || fail "no loopback interface"
echo lab > /proc/sys/kernel/hostname
${linkDisks(script)}cat > ${lab}/bin/as-uid <<'END'
${asUid("/tmp")}END
chmod 0755 ${lab}/bin/as-uid
chmod 0700 ${lab}/control
${script.udev ? startUdev : ""}
run() {
  cd ${quote(script.cwd)} || return 125
  exec env -i ${environment(script)} ${commandLine(script)}
}
${typeof script.stdin === "object" ? runOnTerminal(kernel, script.stdin) : runOnChannels(kernel, script.stdin)}
off
`;
}

/** The command `as-uid`; `homes` is where the uids' home folders are made. */
export function asUid(homes: string): string {
  return `#!/bin/bash
# as-uid N COMMAND...: the command as uid and gid N, without other groups.
if [[ $# -lt 2 || ! $1 =~ ^[0-9]+$ ]]; then echo "usage: as-uid N COMMAND..." >&2; exit 2; fi
uid=$1; shift
export HOME=${quote(homes)}/home-$uid
[ -d "$HOME" ] || { mkdir -m 0700 "$HOME" && chown "$uid:$uid" "$HOME"; }
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups -- "$@"
`;
}

const startUdev = `/lib/systemd/systemd-udevd --daemon || fail "no udevd"
udevadm trigger --action=add && udevadm settle --timeout=30 || fail "udevd does not settle"
`;

/** The mounts as an fstab: one process makes all that mount(8) can make from a table. */
export function mountTable(mounts: readonly GuestMount[]): string {
  const rows = [
    "pts /dev/pts devpts mode=0620,ptmxmode=0666,X-mount.mkdir",
    ...mounts.flatMap((mount) => {
      const path = tableWord(mount.path);
      switch (mount.kind) {
        case "tmpfs":
          return mount.path === "/run"
            ? []
            : [`lab ${path} tmpfs mode=${mount.mode},X-mount.mkdir`];
        case "show":
          return [`${tableWord(lab + "/host" + mount.path)} ${path} none bind,X-mount.mkdir`];
        case "show-file":
        case "scratch":
        default:
          return [];
      }
    }),
  ];
  return `${rows.join("\n")}\n`;
}

/** fstab(5): octal for what would end a field. */
function tableWord(path: string): string {
  return path.replaceAll(
    /[\s\\#]/g,
    (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`,
  );
}

/** Mounts that need a command each. */
function extraMount(mount: GuestMount): string {
  const path = quote(mount.path);
  switch (mount.kind) {
    case "show-file":
      return `: > ${path}; mount --bind ${quote(`${lab}/host${mount.path}`)} ${path} || fail "cannot show "${path}\n`;
    case "scratch":
      return `mkdir -p ${path}; mount_scratch ${path} || fail "no scratch folder"\n`;
    case "tmpfs":
    case "show":
    default:
      return "";
  }
}

function linkDisks(script: GuestScript): string {
  if (script.disks.length === 0) return "";
  const links = script.disks.map(
    (disk) => `ln -s ${quote(disk.node)} /dev/disk/lab/${disk.name}\n`,
  );
  return `mkdir -p /dev/disk/lab\n${links.join("")}`;
}

function environment(script: GuestScript): string {
  const env: Record<string, string> = {
    PATH: script.path,
    HOME: "/root",
    ...(script.udev ? {} : { DM_DISABLE_UDEV: "1" }),
    ...Object.fromEntries(
      script.disks.map((disk) => [diskVariable(disk.name), `/dev/disk/lab/${disk.name}`]),
    ),
    ...script.env,
    LAB_KERNEL: script.kernel.name,
  };
  return Object.entries(env)
    .map(([name, value]) => quote(`${name}=${value}`))
    .join(" ");
}

function commandLine(script: GuestScript): string {
  const command = script.command.length === 0 ? ["bash"] : script.command;
  const as = script.uid === undefined ? [] : [`${lab}/bin/as-uid`, String(script.uid)];
  return [...as, ...command].map(quote).join(" ");
}

/**
 * The command writes into two pipes, as it would on a host, and `cat` carries them to the host.
 * When the command ends, whatever it left running ends too: else a daemon that holds the pipe
 * would keep the guest alive.
 */
function runOnChannels(kernel: GuestKernel, stdin: "none" | "file"): string {
  return `${kernel.openChannels}
mkfifo -m 0666 ${lab}/stdout ${lab}/stderr
cat < ${lab}/stdout >&3 & pump_out=$!
cat < ${lab}/stderr >&4 & pump_err=$!
: > ${lab}/control/${controlFiles.started}
(exec 3>&- 4>&-; run) < ${stdin === "file" ? `${lab}/control/${controlFiles.stdin}` : "/dev/null"} > ${lab}/stdout 2> ${lab}/stderr
code=$?
for process in /proc/[0-9]*; do
  pid=\${process#/proc/}
  case $pid in 1|$pump_out|$pump_err) ;; *) kill -KILL $pid 2>/dev/null ;; esac
done
wait $pump_out $pump_err
sync
# Closing waits until the kernel has handed the last byte to the host.
exec 3>&- 4>&-
echo $code > ${lab}/control/${controlFiles.exitCode}`;
}

function runOnTerminal(kernel: GuestKernel, size: { rows: number; columns: number }): string {
  return `exec 3<>${kernel.terminal}
stty sane rows ${size.rows} cols ${size.columns} <&3
: > ${lab}/control/${controlFiles.started}
setsid -c -w bash -c "$(declare -f run); run" <&3 >&3 2>&3
code=$?
sync
exec 3>&-
echo $code > ${lab}/control/${controlFiles.exitCode}`;
}

/** The files that make thinpoold a service of systemd: two units, and the accounts that it needs. */
import { isAbsolute } from "node:path";
import type { TcpOptions } from "../gateway/tcp-options.ts";
import { StartError } from "../start-error.ts";
import { GATEWAY } from "../worker/reserved-identity.ts";

export const SERVICE_UNIT = "thinpoold.service";
export const SOCKET_UNIT = "thinpoold.socket";
export const SYSUSERS_FILE = "thinpool.conf";

export interface UnitOptions {
  /** The pool's folder. */
  readonly folder: string;
  readonly socketPath: string;
  readonly socketGroup: string;
  /** The command without its options, each word absolute or plain: Node and the program. */
  readonly program: readonly string[];
  /** As of `--metrics`. */
  readonly metrics?: string | undefined;
  /** Undefined: nobody may come over TCP. */
  readonly tcp?: TcpOptions | undefined;
}

/**
 * What the daemon may do, and no more. Each is here for a reason:
 * SYS_ADMIN: device-mapper, loop devices, mounts, namespaces. SYS_CHROOT: mount namespaces. DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER,
 * CHOWN: folders of mounts in users' hands. SETUID, SETGID: workers, and a user's rights to a folder.
 * MKNOD: nodes where no udev makes them. SYS_PTRACE: which process keeps a mount busy. KILL: workers.
 * SYS_RESOURCE: their limits.
 */
const CAPABILITIES = [
  "CAP_SYS_ADMIN",
  "CAP_SYS_CHROOT",
  "CAP_DAC_OVERRIDE",
  "CAP_DAC_READ_SEARCH",
  "CAP_FOWNER",
  "CAP_CHOWN",
  "CAP_SETUID",
  "CAP_SETGID",
  "CAP_MKNOD",
  "CAP_SYS_PTRACE",
  "CAP_KILL",
  "CAP_SYS_RESOURCE",
];
/** Below it a port is for who has CAP_NET_BIND_SERVICE. */
const FIRST_FREE_PORT = 1024;

/**
 * Nothing here may give the service a mount namespace of its own (Private*, ProtectSystem, ProtectHome,
 * ProtectKernel*, ProtectControlGroups, ReadWritePaths …): its mounts would be seen by nobody else.
 * Nor RuntimeDirectory: what is in /run/thinpool stays when the service stops.
 * MemoryDenyWriteExecute does not go with a JIT; ProtectClock closes all devices.
 */
function serviceUnit(options: UnitOptions): string {
  const { folder, socketPath, socketGroup, program, metrics, tcp } = options;
  const words = [...program, "--folder", folder, "--socket", socketPath];
  words.push("--socket-group", socketGroup);
  if (metrics !== undefined) words.push("--metrics", metrics);
  if (tcp !== undefined) words.push(...tcpWords(tcp));
  const localPort = metrics !== undefined && !isAbsolute(metrics);
  const families = tcp === undefined ? (localPort ? " AF_INET" : "") : " AF_INET AF_INET6";
  const needsPort = tcp !== undefined && tcp.address.port < FIRST_FREE_PORT;
  const capabilities = needsPort ? [...CAPABILITIES, "CAP_NET_BIND_SERVICE"] : CAPABILITIES;
  return `[Unit]
Description=thinpool: copy-on-write disks for users
Documentation=https://github.com/thinpool/thinpool
Requires=${SOCKET_UNIT}
After=${SOCKET_UNIT} local-fs.target
RequiresMountsFor=${quote(folder)}

[Service]
Type=notify
NotifyAccess=main
ExecStart=${words.map(quote).join(" ")}
Restart=on-failure
RestartSec=1s
WatchdogSec=60s
TimeoutStartSec=300s
TimeoutStopSec=90s
KillMode=mixed
LimitNOFILE=65536
LimitCORE=0
TasksMax=4096
UMask=0077
OOMScoreAdjust=-500

CapabilityBoundingSet=${capabilities.join(" ")}
NoNewPrivileges=yes
RestrictAddressFamilies=AF_UNIX${families}
${tcp === undefined ? "IPAddressDeny=any\n" : ""}${localPort && tcp === undefined ? "IPAddressAllow=localhost\n" : ""}ProtectHostname=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=user mnt
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service @mount
SystemCallFilter=~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
Also=${SOCKET_UNIT}
`;
}

function socketUnit({ socketPath, socketGroup }: UnitOptions): string {
  return `[Unit]
Description=thinpool: the socket of thinpoold

[Socket]
ListenStream=${quote(socketPath)}
SocketUser=root
SocketGroup=${socketGroup}
SocketMode=0660
DirectoryMode=0755
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`;
}

/** As the program takes them. */
function tcpWords({ address, certificateFile, keyFile, origins }: TcpOptions): readonly string[] {
  const host = address.host.includes(":") ? `[${address.host}]` : address.host;
  return [
    "--tcp",
    `${host}:${address.port}`,
    "--tls-certificate",
    certificateFile,
    "--tls-key",
    keyFile,
    ...origins.flatMap((origin) => ["--tcp-origin", origin]),
  ];
}

function sysusers({ socketGroup, tcp }: UnitOptions): string {
  const group = `# Who may connect to thinpoold.\ng ${socketGroup} -\n`;
  if (tcp === undefined) return group;
  return `${group}# As whom thinpoold reads what comes over TCP.\nu ${GATEWAY.account} - "thinpoold's gateway"\n`;
}

/** systemd.service(5): a word in double quotes; % and $ are its own. */
function quote(word: string): string {
  const plain = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  if (/^[A-Za-z0-9_@%+=:,./-]+$/.test(plain)) return plain;
  return `"${plain.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function check({ folder, socketPath, socketGroup, program, tcp }: UnitOptions): void {
  const files = tcp === undefined ? [] : [tcp.certificateFile, tcp.keyFile];
  const words = [folder, socketPath, ...program, ...files, ...(tcp?.origins ?? [])];
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  const bad = words.find((word) => /[\u0000-\u001f\u007f]/.test(word));
  const paths = [folder, socketPath, program[0] ?? "", ...files];
  const relative = paths.find((path) => !isAbsolute(path));
  const group = /^[a-z_][a-z0-9_-]{0,31}$/.test(socketGroup) ? undefined : socketGroup;
  const wrong = bad ?? relative ?? group;
  if (wrong === undefined) return;
  throw new StartError({
    code: "OPTION_INVALID",
    object: JSON.stringify(wrong),
    reason: wrong === group ? "it is no group's name" : "it is no absolute, printable path",
    hint: "Correct it.",
  });
}

/** The texts by their names. Throws StartError with OPTION_INVALID. */
export function unitFiles(options: UnitOptions): {
  readonly service: string;
  readonly socket: string;
  readonly sysusers: string;
} {
  check(options);
  return {
    service: serviceUnit(options),
    socket: socketUnit(options),
    sysusers: sysusers(options),
  };
}

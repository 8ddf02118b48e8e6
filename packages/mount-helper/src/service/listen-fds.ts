/** The socket that systemd has opened for the daemon (sd_listen_fds(3)). */
import { readFileSync, readlinkSync } from "node:fs";
import { StartError } from "../start-error.ts";

/** SD_LISTEN_FDS_START */
const FIRST_FD = 3;
/** As /proc/net/unix prints them: __SO_ACCEPTCON, and SOCK_STREAM. */
const ACCEPTS = 0x1_0000;
const STREAM = "0001";

/**
 * The descriptor of the listening socket that was handed to this very process; undefined where none
 * was. Takes the variables out of the environment, so that no child believes them. Throws StartError
 * where there is anything but one socket at `socketPath`.
 */
export function inheritedSocket(
  environment: NodeJS.ProcessEnv,
  socketPath: string,
): number | undefined {
  const { LISTEN_PID, LISTEN_FDS } = environment;
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) {
    Reflect.deleteProperty(environment, name);
  }
  if (LISTEN_FDS === undefined || Number(LISTEN_PID) !== process.pid) return undefined;
  const path = LISTEN_FDS === "1" ? listeningPath(FIRST_FD) : undefined;
  if (path === socketPath) return FIRST_FD;
  throw new StartError({
    code: "OPTION_INVALID",
    object: `LISTEN_FDS=${LISTEN_FDS}`,
    reason:
      LISTEN_FDS === "1"
        ? `the inherited socket is at ${path ?? "no path"}, not ${socketPath}`
        : "one socket is expected",
    hint: "Give thinpoold.socket one ListenStream=, the same path as --socket.",
  });
}

/** The path of a listening Unix stream socket of this process, by /proc/net/unix; undefined: it is none. */
function listeningPath(fd: number): string | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  if (inode === undefined) return undefined;
  // Num RefCount Protocol Flags Type St Inode Path: proc_net_unix(5). Flags: __SO_ACCEPTCON, it listens.
  for (const line of readFileSync("/proc/self/net/unix", "utf8").split("\n").slice(1)) {
    const fields = line.trim().split(/\s+/);
    if (fields[6] !== inode) continue;
    const listens = (Number.parseInt(fields[3] ?? "0", 16) & ACCEPTS) !== 0;
    return listens && fields[4] === STREAM ? fields[7] : undefined;
  }
  return undefined;
}

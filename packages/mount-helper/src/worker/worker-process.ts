/**
 * How a worker is started; the gateway (gateway/) is, too. Three small programs of util-linux set what a process can only lose, one
 * after another in the same process, and the last becomes Node:
 *
 * - prlimit: no core file, few descriptors. A worker's files may grow: an import writes the user's, as
 *   the user;
 * - setpriv: no groups; inheritable are only the capabilities that starting takes: to become the user
 *   (SETUID, SETGID), and to load the program wherever it lies (DAC_READ_SEARCH);
 * - setpriv: no_new_privs, and an empty bounding set: from then on it has only those three. (Not one
 *   call: what is not in the bounding set can't be made inheritable.)
 *
 * Set before Node begins, they hold for all its threads. confined-main.ts gives up the rest, as soon as it
 * is told who it is to be: at once, or, for a spare, when a user comes who has no worker.
 */
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { keepDescriptorsFromChildren } from "@thinpool/thinpool";
import { WORKER_HEAP_MIB, WORKER_MAX_DESCRIPTORS } from "./limits.ts";
import type { ToFront } from "../server/channel.ts";

/** Behind stdin, stdout and stderr. */
const FIRST_DESCRIPTOR = 3;
export const CHANNEL_DESCRIPTOR = 3;
export const SOCKETS_DESCRIPTOR = 4;

/** What the daemon says to each such process, and hears of it, whatever it is for. */
export type ToConfined =
  /** The first message: give up all but this, and serve. */
  | { readonly type: "become"; readonly uid: number; readonly gid: number }
  | { readonly type: "ping" };
export type FromConfined = { readonly type: "ready" } | { readonly type: "pong" };

/** What a worker hears beside that; what it says is for the back. An answer's text is the frame's body. */
export type ToWorker =
  | { readonly type: "adopt"; readonly connection: number }
  | WithoutText<ToFront>;
type WithoutText<M> = M extends { readonly text: string } ? Omit<M, "text"> : M;

const PRLIMIT = "/usr/bin/prlimit";
const SETPRIV = "/usr/bin/setpriv";
const START_CAPABILITIES = "-all,+setuid,+setgid,+dac_read_search";

/** What a process may use. */
export interface ProcessLimits {
  readonly descriptors: number;
  /** V8's heap. */
  readonly heapMib: number;
  /** Else not one byte of any file. */
  readonly writesFiles: boolean;
}

const WORKER_LIMITS: ProcessLimits = {
  descriptors: WORKER_MAX_DESCRIPTORS,
  heapMib: WORKER_HEAP_MIB,
  writesFiles: true,
};

/** What Node runs in a worker: its own options, and the program. */
export function workerProgram(): readonly string[] {
  return programBeside(import.meta.url, "worker-main");
}

/** The same of another program: `name` without its ending, in the folder of the module `url`. */
export function programBeside(url: string, name: string): readonly string[] {
  const ending = url.endsWith(".ts") ? "ts" : "js";
  const program = fileURLToPath(new URL(`${name}.${ending}`, url));
  return ending === "ts" ? ["--conditions=source", program] : [program];
}

function launch(
  program: readonly string[],
  { descriptors, heapMib, writesFiles }: ProcessLimits,
): readonly string[] {
  return [
    ...["--core=0", `--nofile=${descriptors}`, ...(writesFiles ? [] : ["--fsize=0"]), "--"],
    ...[SETPRIV, "--clear-groups", `--inh-caps=${START_CAPABILITIES}`, "--"],
    ...[SETPRIV, "--bounding-set=-all", "--no-new-privs", "--"],
    ...[process.execPath, `--max-old-space-size=${heapMib}`],
    // Else any process of the user could open the debugger's port by a signal.
    "--disable-sigusr1",
    "--disallow-code-generation-from-strings",
    ...program,
  ];
}

/** stdio: nothing, nothing, what it has to complain, the channel, the way of the sockets. */
export function spawnWorker(
  program: readonly string[],
  limits: ProcessLimits = WORKER_LIMITS,
): ChildProcess {
  // Node marks what it opens; what the daemon inherited itself, nobody has marked.
  keepDescriptorsFromChildren(FIRST_DESCRIPTOR);
  return spawn(PRLIMIT, launch(program, limits), {
    cwd: "/",
    env: {},
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
  });
}

/**
 * How a worker is started. Three small programs of util-linux set what a process can only lose, one
 * after another in the same process, and the last becomes Node:
 *
 * - prlimit: no core file, few descriptors. Files may grow: an import writes the user's, as the user;
 * - setpriv: no groups; inheritable are only the capabilities that starting takes: to become the user
 *   (SETUID, SETGID), and to load the program wherever it lies (DAC_READ_SEARCH);
 * - setpriv: no_new_privs, and an empty bounding set: from then on it has only those three. (Not one
 *   call: what is not in the bounding set can't be made inheritable.)
 *
 * Set before Node begins, they hold for all its threads. worker-main.ts gives up the rest, as soon as it
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

/** What daemon and worker say beside the messages of front and back. An answer's text is the frame's body. */
export type ToWorker =
  /** The first message: give up all but this, and serve. */
  | { readonly type: "become"; readonly uid: number; readonly gid: number }
  | { readonly type: "ping" }
  | { readonly type: "adopt"; readonly connection: number }
  | WithoutText<ToFront>;
type WithoutText<M> = M extends { readonly text: string } ? Omit<M, "text"> : M;
export type FromWorker = { readonly type: "ready" } | { readonly type: "pong" };

const PRLIMIT = "/usr/bin/prlimit";
const SETPRIV = "/usr/bin/setpriv";
const START_CAPABILITIES = "-all,+setuid,+setgid,+dac_read_search";
const PROGRAM = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "worker-main.ts" : "worker-main.js", import.meta.url),
);

/** What Node runs in a worker: its own options, and the program. */
export function workerProgram(): readonly string[] {
  const conditions = PROGRAM.endsWith(".ts") ? ["--conditions=source"] : [];
  return [...conditions, PROGRAM];
}

function launch(program: readonly string[]): readonly string[] {
  return [
    ...["--core=0", `--nofile=${WORKER_MAX_DESCRIPTORS}`, "--"],
    ...[SETPRIV, "--clear-groups", `--inh-caps=${START_CAPABILITIES}`, "--"],
    ...[SETPRIV, "--bounding-set=-all", "--no-new-privs", "--"],
    ...[process.execPath, `--max-old-space-size=${WORKER_HEAP_MIB}`],
    // Else any process of the user could open the debugger's port by a signal.
    "--disable-sigusr1",
    "--disallow-code-generation-from-strings",
    ...program,
  ];
}

/** stdio: nothing, nothing, what it has to complain, the channel, the way of the sockets. */
export function spawnWorker(program: readonly string[]): ChildProcess {
  // Node marks what it opens; what the daemon inherited itself, nobody has marked.
  keepDescriptorsFromChildren(FIRST_DESCRIPTOR);
  return spawn(PRLIMIT, launch(program), {
    cwd: "/",
    env: {},
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"],
  });
}

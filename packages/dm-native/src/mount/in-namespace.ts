/**
 * Another mount namespace than this process's: finding it, and having something done in it. Entering one
 * is for a process with a single thread (setns(2)), so each time a short-lived child does it
 * (namespace-child.ts). Nothing of what lies in that namespace is started or loaded there.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fstatSync, readdirSync, readlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { NativeError } from "../errors.ts";
import {
  closeDescriptor,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  openDescriptor,
} from "../sys/descriptor.ts";
import { nativeErrorFromErrno } from "../sys/errno.ts";

/** Children at once; further ones wait, up to that many. */
const MAX_CHILDREN = 4;
const MAX_WAITING = 256;
/** Node's start and what it does: an unmount writes back all that the filesystem has. */
const CHILD_TIMEOUT_MS = 120_000;
/** 100,000 mounts (sysctl fs.mount-max) of ordinary length. */
const MAX_REPLY_BYTES = 32 * 1024 * 1024;
const MAX_STDERR_BYTES = 2048;
const PROGRAM = fileURLToPath(
  new URL(
    import.meta.url.endsWith(".ts") ? "namespace-child.ts" : "namespace-child.js",
    import.meta.url,
  ),
);

/** What the child is asked, on its stdin. Its descriptors: 3 the namespace, 4 the mount, 5 the folder. */
export type NamespaceRequest =
  | { readonly type: "list" }
  /** Attaches the detached mount to the folder; not where that would show in one of these peer groups. */
  | { readonly type: "attach"; readonly ownPeerGroups: readonly string[] }
  | {
      readonly type: "unmount";
      readonly target: string;
      readonly mountId: number;
      readonly flags: number;
    };

/** What the child answers, on its stdout. `mountinfo` is that of the namespace, as it is afterwards. */
export type NamespaceReply =
  | { readonly ok: true; readonly mountinfo: string }
  | {
      readonly ok: false;
      readonly operation: string;
      readonly errno: number;
      /** Where the errno does not say it. */
      readonly refused?: "changed" | "shared";
    };

/** Errors of children that ended without an answer: what they were asked may be done. */
const unanswered = new WeakSet();

export function isUnanswered(error: unknown): boolean {
  return typeof error === "object" && error !== null && unanswered.has(error);
}

let running = 0;
const waiting: (() => void)[] = [];

/** Resolves with the namespace's mountinfo. `descriptors`: the mount and the folder, for "attach". */
export async function inNamespace(
  namespace: number,
  request: NamespaceRequest,
  object: string,
  descriptors: readonly number[] = [],
): Promise<string> {
  if (running < MAX_CHILDREN) running += 1;
  else if (waiting.length < MAX_WAITING) {
    await new Promise<void>((resolve) => waiting.push(resolve));
  } else {
    throw new NativeError({
      code: "NATIVE_BUSY",
      operation: `${request.type} in a mount namespace`,
      object,
      reason: `${MAX_WAITING} wait for their turn already`,
      hint: "Try again later.",
    });
  }
  try {
    const reply = await answered(ask([namespace, ...descriptors], request, object));
    if (reply.ok) return reply.mountinfo;
    throw refusalOf(reply, object);
  } finally {
    const next = waiting.shift();
    // Whoever waits longest takes the place over.
    if (next === undefined) running -= 1;
    else next();
  }
}

async function answered(asking: Promise<NamespaceReply>): Promise<NamespaceReply> {
  try {
    return await asking;
  } catch (error) {
    if (error instanceof Error) unanswered.add(error);
    throw error;
  }
}

async function ask(
  descriptors: readonly number[],
  request: NamespaceRequest,
  object: string,
): Promise<NamespaceReply> {
  const child = spawn(process.execPath, [PROGRAM], {
    cwd: "/",
    env: {},
    stdio: ["pipe", "pipe", "pipe", ...descriptors],
  });
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null)
    throw new Error("the child has no pipes");
  const chunks: Buffer[] = [];
  let bytes = 0;
  let complaint = "";
  stdout.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_REPLY_BYTES) child.kill("SIGKILL");
    else chunks.push(chunk);
  });
  stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(0, MAX_STDERR_BYTES);
  });
  // EPIPE of a child that died at once: its exit tells more.
  stdin.on("error", () => undefined);
  stdin.end(JSON.stringify(request));
  const timer = setTimeout(() => child.kill("SIGKILL"), CHILD_TIMEOUT_MS);
  try {
    // Rejects on "error": the program could not be started.
    await once(child, "close");
  } finally {
    clearTimeout(timer);
  }
  const text = Buffer.concat(chunks).toString("utf8");
  if (child.exitCode === 0) return JSON.parse(text) as NamespaceReply;
  throw new NativeError({
    code: child.signalCode === null ? "NATIVE_IO" : "NATIVE_TIMEOUT",
    operation: `${request.type} in a mount namespace`,
    object,
    reason: complaint.trim() || `the child ended: ${child.signalCode ?? child.exitCode}`,
    hint: "See the kernel's log (dmesg), and whether the namespace's processes are stuck.",
  });
}

function refusalOf(reply: NamespaceReply & { readonly ok: false }, object: string): NativeError {
  const { operation, errno, refused } = reply;
  switch (refused) {
    case "changed":
      return new NativeError({
        code: "NATIVE_NOT_FOUND",
        operation,
        object,
        reason: "it is not, or not any more, the mount that was asked for",
        hint: "See what is mounted there: findmnt --task PID.",
      });
    case "shared":
      return new NativeError({
        code: "NATIVE_UNSUPPORTED",
        operation,
        object,
        reason: "what is mounted there would be seen outside of the namespace as well",
        hint: "Make the container's mounts private or slave: mount --make-rslave /.",
      });
    default:
      return nativeErrorFromErrno({ operation, object, errno });
  }
}

/** A process's mount namespace, held open: as long as it is, it outlives its processes. */
export interface OpenNamespace extends AsyncDisposable {
  /** Its number, as /proc/PID/ns/mnt shows it. Another may have it once this one is gone. */
  readonly inode: number;
  readonly descriptor: number;
  /** The process's "/". */
  readonly topDescriptor: number;
  /** The process's "/" is not the namespace's: chroot(2). */
  readonly isChrooted: boolean;
}

/** Of the process that has this number now; whose that is, the caller of this must know (PeerProcess). */
export async function openNamespaceOf(pid: number): Promise<OpenNamespace> {
  const root = `/proc/${pid}/root`;
  const descriptor = await openDescriptor(`/proc/${pid}/ns/mnt`, O_RDONLY);
  let topDescriptor: number | undefined;
  const close = async (): Promise<void> => {
    if (topDescriptor !== undefined) await closeDescriptor(topDescriptor);
    await closeDescriptor(descriptor);
  };
  try {
    topDescriptor = await openDescriptor(root, O_PATH | O_DIRECTORY);
    return {
      inode: fstatSync(descriptor).ino,
      descriptor,
      topDescriptor,
      isChrooted: readlinkSync(root) !== "/",
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * A descriptor of the mount namespace with that inode, by any process that is in it; undefined where there
 * is none. The caller closes it. Reads a link for each process of the machine.
 */
export async function openMountNamespace(inode: number): Promise<number | undefined> {
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const path = `/proc/${pid}/ns/mnt`;
    try {
      if (readlinkSync(path) !== `mnt:[${inode}]`) continue;
      const fd = await openDescriptor(path, O_RDONLY);
      if (fstatSync(fd).ino === inode) return fd;
      await closeDescriptor(fd);
    } catch {
      // It has ended, or its number is another's by now: the next one.
    }
  }
  return undefined;
}

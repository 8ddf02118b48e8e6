/**
 * The mount namespace of a caller (mount_namespaces(7)). In another one than the daemon's (a container) a
 * path means something else: a folder there is looked up from its caller's own root, and mounted on from
 * within, where the policy lets him.
 */
import { readlink } from "node:fs/promises";
import type { OpenNamespace, PeerProcess } from "@thinpool/thinpool";
import { openNamespaceOf } from "@thinpool/thinpool";
import { RequestError } from "../errors.ts";

export interface NamespaceQuestion {
  readonly pid: number;
  /** The process itself; undefined: it is not known beyond its number. */
  readonly peer: PeerProcess | undefined;
  readonly allowed: boolean;
  /** For the error. */
  readonly folder: string;
}

/**
 * Undefined where it is the daemon's own. Throws UNSUPPORTED where the policy does not let the caller mount
 * in his. The caller of this lets it go after the call: held longer, it would outlive its processes.
 */
export async function namespaceOfCaller(
  question: NamespaceQuestion,
): Promise<OpenNamespace | undefined> {
  const { pid, peer, allowed, folder } = question;
  const [own, callers] = await Promise.all([namespaceOf("self"), namespaceOf(String(pid))]);
  if (own === callers) return undefined;
  if (callers === undefined) throw refuse(folder, "the process that connected is no more");
  if (!allowed) {
    throw refuse(folder, "your process is in another mount namespace than the daemon");
  }
  if (peer === undefined) {
    throw refuse(folder, "your process was not known beyond its number when it connected");
  }
  const opened = await openNamespaceOf(pid);
  // What was opened by its number was its own if it still is.
  const reason = !peer.isAlive
    ? "the process that connected is no more"
    : opened.isChrooted
      ? "your process has another root than its mount namespace"
      : undefined;
  if (reason === undefined) return opened;
  await opened[Symbol.asyncDispose]();
  throw refuse(folder, reason);
}

function refuse(object: string, reason: string): RequestError {
  return new RequestError({
    code: "UNSUPPORTED",
    operation: "mount.create",
    object,
    reason,
    hint: "Mount from outside of the container, and share the folder with it.",
  });
}

async function namespaceOf(process: string): Promise<string | undefined> {
  try {
    return await readlink(`/proc/${process}/ns/mnt`);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

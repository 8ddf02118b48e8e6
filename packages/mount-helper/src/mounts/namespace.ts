/** Whether a caller sees the same mounts as the daemon (mount_namespaces(7)). */
import { readlink } from "node:fs/promises";
import { RequestError } from "../errors.ts";

/**
 * A path means something else to a process of another mount namespace (a container): mounting there is
 * not done, and refused in so many words. Throws UNSUPPORTED.
 */
export async function assertSameMounts(pid: number, folder: string): Promise<void> {
  const [own, callers] = await Promise.all([namespaceOf("self"), namespaceOf(String(pid))]);
  if (own === callers) return;
  throw new RequestError({
    code: "UNSUPPORTED",
    operation: "mount.create",
    object: folder,
    reason:
      callers === undefined
        ? "the process that connected is no more"
        : "your process is in another mount namespace than the daemon",
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

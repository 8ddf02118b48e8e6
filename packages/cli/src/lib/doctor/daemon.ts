/** The daemon and the place of the pool. */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { failureOf } from "../errors.ts";
import { formatSize } from "../size.ts";
import type { Finding } from "./finding.ts";

const CONNECT_TIMEOUT_MS = 5_000;
/** Below it a pool on sparse files in that place would soon be full. */
const LEAST_FREE_BYTES: bigint = 1n << 30n;

export async function daemon(socketPath: string): Promise<Finding> {
  const { connect } = await import("@thinpool/sdk");
  try {
    await using client = await connect({ socketPath, timeoutMs: CONNECT_TIMEOUT_MS });
    const { uuid, state } = await client.status();
    return {
      topic: "daemon",
      state: "ok",
      needed: false,
      found: `${socketPath} serves pool ${uuid}, ${state}`,
    };
  } catch (error) {
    const { message, hint } = failureOf(error);
    return { topic: "daemon", state: "lacking", needed: false, found: message, mend: hint };
  }
}

/** Of the filesystem that holds the folder, or will hold it. */
export async function freeSpace(folder: string): Promise<Finding> {
  const place = await nearest(folder);
  const { bavail, bsize } = await statfs(place, { bigint: true });
  const freeBytes = bavail * bsize;
  const enough = freeBytes >= LEAST_FREE_BYTES;
  return {
    topic: "space",
    state: enough ? "ok" : "lacking",
    needed: false,
    found: `${formatSize(freeBytes)} free for ${folder}`,
    ...(enough ? {} : { mend: "Free some space, or name another place with --folder." }),
  };
}

/** The folder, or the one above it that is there. */
async function nearest(folder: string): Promise<string> {
  try {
    await statfs(folder);
    return folder;
  } catch (error) {
    if (folder === "/") throw error;
    return await nearest(dirname(folder));
  }
}

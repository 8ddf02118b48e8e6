/** The Unix socket's file: its folder, its lock, a stale predecessor, its owner and mode. */
import { chmod, chown, lstat, unlink } from "node:fs/promises";
import { createConnection } from "node:net";
import type { Server } from "node:net";
import { dirname, isAbsolute } from "node:path";
import type { FileLock } from "@thinpool/thinpool";
import { NativeError, lockFile } from "@thinpool/thinpool";
import { groupIdOf } from "../accounts.ts";
import { ensureServiceFolder } from "../mounts/folders.ts";
import { StartError } from "../start-error.ts";

const SOCKET_MODE = 0o660;
const SOCKET_MODE_OWNER_ONLY = 0o600;
/** The group that may connect where none is named, if the machine has it. */
export const DEFAULT_SOCKET_GROUP = "thinpool";
/** sockaddr_un.sun_path, with its NUL (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107;
/** How long a predecessor may take to answer a connect(2). */
const PROBE_TIMEOUT_MS = 1_000;

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** Takes the lock, so that two daemons can't both find the socket stale. */
function takeLock(socketPath: string): FileLock {
  try {
    return lockFile(`${socketPath}.lock`);
  } catch (error) {
    if (!(error instanceof NativeError) || error.code !== "NATIVE_BUSY") throw error;
    throw new StartError({
      code: "SOCKET_IN_USE",
      object: socketPath,
      reason: `another daemon serves it: ${error.reason}`,
      hint: "Use that one, or stop it first, or name another socket.",
      cause: error,
    });
  }
}

async function answers(socketPath: string): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const socket = createConnection(socketPath);
  socket.setTimeout(PROBE_TIMEOUT_MS, () => resolve(true));
  socket.once("connect", () => resolve(true));
  socket.once("error", (error) => {
    if (hasCode(error, "ECONNREFUSED", "ENOENT")) resolve(false);
    else reject(error);
  });
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}

/** Removes a socket that nobody serves. What is no socket, or is served, is left and refused. */
async function removeStale(socketPath: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = (await lstat(socketPath)).isSocket();
  } catch (error) {
    if (hasCode(error, "ENOENT")) return;
    throw error;
  }
  if (!isSocket || (await answers(socketPath))) {
    throw new StartError({
      code: "SOCKET_IN_USE",
      object: socketPath,
      reason: isSocket ? "somebody serves it" : "there is a file of that name that is no socket",
      hint: "Stop its server or move the file away, or name another socket.",
    });
  }
  await unlink(socketPath);
}

async function groupFor(name: string | undefined): Promise<number | undefined> {
  const gid = await groupIdOf(name ?? DEFAULT_SOCKET_GROUP);
  if (gid === undefined && name !== undefined) {
    throw new StartError({
      code: "OPTION_INVALID",
      object: name,
      reason: "there is no such group",
      hint: `Make it (groupadd --system ${name}), or name another.`,
    });
  }
  return gid;
}

function checkPath(socketPath: string): void {
  const bytes = Buffer.byteLength(socketPath);
  if (isAbsolute(socketPath) && !socketPath.includes("\0") && bytes <= MAX_SOCKET_PATH_BYTES)
    return;
  throw new StartError({
    code: "OPTION_INVALID",
    object: JSON.stringify(socketPath),
    reason: "it is no usable path of a socket",
    hint: `Give an absolute path of at most ${MAX_SOCKET_PATH_BYTES} bytes.`,
  });
}

export interface BoundSocket {
  /** Call after the server is closed (which unlinks the socket). */
  release(): void;
}

export interface SocketOptions {
  readonly socketPath: string;
  readonly socketGroup: string | undefined;
  /** Listening at `socketPath` already, opened by the service manager, which sees to its rights. */
  readonly inheritedSocket?: number | undefined;
}

/** Makes the folder, takes the lock, listens. Nobody but root can connect before the mode is set. */
export async function bindSocket(server: Server, options: SocketOptions): Promise<BoundSocket> {
  const { socketPath, inheritedSocket } = options;
  checkPath(socketPath);
  const gid = await groupFor(options.socketGroup);
  await ensureServiceFolder(dirname(socketPath));
  const lock = takeLock(socketPath);
  try {
    if (inheritedSocket !== undefined) {
      await listen(server, { fd: inheritedSocket });
      return { release: () => lock.release() };
    }
    await removeStale(socketPath);
    await listen(server, { path: socketPath });
    if (gid !== undefined && process.geteuid?.() === 0) await chown(socketPath, 0, gid);
    await chmod(socketPath, gid === undefined ? SOCKET_MODE_OWNER_ONLY : SOCKET_MODE);
  } catch (error) {
    if (server.listening) server.close();
    lock.release();
    throw error;
  }
  return { release: () => lock.release() };
}

async function listen(server: Server, at: { path: string } | { fd: number }): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  server.once("error", reject);
  server.once("listening", () => resolve(undefined));
  // bind(2) happens inside listen(): the socket is born without rights for others.
  const before = process.umask(0o177);
  try {
    server.listen(at);
  } finally {
    process.umask(before);
  }
  await promise;
  server.off("error", reject);
}

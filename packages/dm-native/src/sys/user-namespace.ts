/**
 * User namespaces as id maps for idmapped mounts (mount_setattr(2)). A namespace is born with a
 * process: a short-lived child unshares one, its maps are written, the namespace is pinned by a
 * descriptor, the child ends. A child (not unshare(2) here) because the kernel lets only a
 * single-threaded process change its own.
 */
import { spawn } from "node:child_process";
import type { ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import { NativeError } from "../errors.ts";
import { closeDescriptor, O_RDONLY, openDescriptor } from "./descriptor.ts";
import { errnoOfNodeError, nativeErrorFromErrno } from "./errno.ts";

/** Namespaces kept open; each costs a descriptor and some kernel memory. */
const MAX_CACHED_NAMESPACES = 128;
/** The child has this long to be inside its namespace. */
const CHILD_TIMEOUT_MS = 10_000;
const MAX_STDERR_BYTES = 2048;
/** (uid_t) -1 is no id. */
const MAX_ID = 0xffff_fffe;
const UNSHARE = "/usr/bin/unshare";
/** Echoes one byte when it runs inside the namespace, and ends when its input is closed. */
const ECHO = "/bin/cat";

/** One id each: `inside` is on disk, `outside` is seen in the mount. */
export interface IdMap {
  readonly insideUid: number;
  readonly outsideUid: number;
  readonly insideGid: number;
  readonly outsideGid: number;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

function failure(reason: string, hint: string, cause?: unknown): NativeError {
  return new NativeError({
    code: "NATIVE_UNSUPPORTED",
    operation: "unshare(CLONE_NEWUSER)",
    object: "a user namespace",
    reason,
    hint,
    ...(cause === undefined ? {} : { cause }),
  });
}

function checkIds(map: IdMap): void {
  const { insideUid, outsideUid, insideGid, outsideGid } = map;
  for (const id of [insideUid, outsideUid, insideGid, outsideGid]) {
    if (Number.isInteger(id) && id >= 0 && id <= MAX_ID) continue;
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "check of an id map",
      object: String(id),
      reason: "it is no uid or gid",
      hint: `Use integers from 0 to ${MAX_ID}.`,
    });
  }
}

/** Resolves when the child runs inside its new namespace. */
async function waitUntilInside(child: Child): Promise<void> {
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(0, MAX_STDERR_BYTES);
  });
  // EPIPE of a child that died at once: its exit tells more.
  child.stdin.on("error", () => undefined);
  child.stdin.write(".");
  const signal = AbortSignal.timeout(CHILD_TIMEOUT_MS);
  // once() rejects on "error": the program could not be started.
  const ended = once(child, "close", { signal }).then(() => "ended" as const);
  const echoed = once(child.stdout, "data", { signal }).then(() => "inside" as const);
  try {
    if ((await Promise.race([echoed, ended])) === "inside") {
      // It ends later, by our doing; the other promise must not become an unhandled rejection.
      ended.catch(() => undefined);
      return;
    }
  } catch (error) {
    ended.catch(() => undefined);
    echoed.catch(() => undefined);
    const reason = signal.aborted
      ? `the child was not ready within ${CHILD_TIMEOUT_MS} ms`
      : `${UNSHARE} could not be started`;
    throw failure(reason, "Install util-linux and coreutils.", error);
  }
  echoed.catch(() => undefined);
  throw failure(
    complaint.trim() === "" ? "the child ended at once" : complaint.trim(),
    "The kernel must allow user namespaces: see /proc/sys/user/max_user_namespaces.",
  );
}

async function writeMaps(pid: number, map: IdMap): Promise<void> {
  const files = [
    // user_namespaces(7): gid_map of an unprivileged writer needs this first; it harms no other.
    ["setgroups", "deny"],
    ["uid_map", `${map.insideUid} ${map.outsideUid} 1\n`],
    ["gid_map", `${map.insideGid} ${map.outsideGid} 1\n`],
  ] as const;
  for (const [name, content] of files) {
    const path = `/proc/${pid}/${name}`;
    try {
      // One write(2): the kernel takes a map once and whole.
      await writeFile(path, content, { flag: "r+" });
    } catch (error) {
      const errno = errnoOfNodeError(error);
      throw nativeErrorFromErrno({
        operation: "write of an id map",
        object: path,
        errno,
        hint: "It needs CAP_SETUID and CAP_SETGID: run as root.",
        cause: error,
      });
    }
  }
}

/** Makes a namespace with these maps; the caller closes its descriptor. */
async function createNamespace(map: IdMap): Promise<number> {
  const child: Child = spawn(UNSHARE, ["--user", "--", ECHO], {
    env: {},
    cwd: "/",
    stdio: ["pipe", "pipe", "pipe"],
  });
  const gone = once(child, "close").catch(() => undefined);
  try {
    await waitUntilInside(child);
    const pid = child.pid;
    if (pid === undefined) throw failure("the child has no pid", "Try again.");
    await writeMaps(pid, map);
    return await openDescriptor(`/proc/${pid}/ns/user`, O_RDONLY);
  } finally {
    child.kill("SIGKILL");
    await gone;
  }
}

interface Entry {
  readonly fd: Promise<number>;
  users: number;
}

/** Namespaces by map, made on first use. The longest unused one is closed when there are too many. */
export class UserNamespaces {
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;

  constructor(limit: number = MAX_CACHED_NAMESPACES) {
    this.#limit = limit;
  }

  /** Hands out the namespace's descriptor for the length of `use`. */
  async withNamespace<T>(map: IdMap, use: (fd: number) => Promise<T>): Promise<T> {
    checkIds(map);
    const key = `${map.insideUid} ${map.outsideUid} ${map.insideGid} ${map.outsideGid}`;
    const entry = this.#entries.get(key) ?? { fd: createNamespace(map), users: 0 };
    // Set anew each time: the map's order is that of the last use.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    entry.users += 1;
    try {
      return await use(await this.#settled(key, entry));
    } finally {
      entry.users -= 1;
      await this.#evict(this.#limit);
    }
  }

  /** Closes all that are not in use. */
  async close(): Promise<void> {
    await this.#evict(0);
  }

  async #settled(key: string, entry: Entry): Promise<number> {
    try {
      return await entry.fd;
    } catch (error) {
      // The next caller tries anew.
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  async #evict(limit: number): Promise<void> {
    for (const [key, entry] of this.#entries) {
      if (this.#entries.size <= limit) return;
      if (entry.users > 0) continue;
      this.#entries.delete(key);
      await closeDescriptor(await entry.fd);
    }
  }
}

/**
 * The child of in-namespace.ts: enters the mount namespace of descriptor 3 and does one thing there. All
 * is loaded before it enters, and afterwards nothing is opened by Node itself: whatever has a path in that
 * namespace is its owner's. Only this thread enters, so only synchronous calls are made.
 */
import { closeSync, readFileSync, readSync, writeSync } from "node:fs";
import { basename, dirname } from "node:path";
import { O_CLOEXEC, O_DIRECTORY, O_PATH, O_RDONLY } from "../sys/descriptor.ts";
import { open } from "../sys/libc.ts";
import type { SyscallResult } from "../sys/libc.ts";
import {
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_T_EMPTY_PATH,
  SYS_MOVE_MOUNT,
  syscallMoveMount,
  umount2,
} from "../sys/mount-syscalls.ts";
import {
  CLONE_FS,
  CLONE_NEWNS,
  fchdir,
  mountIdAt,
  openat,
  setns,
  unshare,
} from "../sys/namespace-syscalls.ts";
import { pinFolderWithoutSymlinks } from "../sys/openat2.ts";
import type { NamespaceReply, NamespaceRequest } from "./in-namespace.ts";
import { parseMountInfo } from "./mountinfo.ts";

const NAMESPACE = 3;
const MOUNT = 4;
const FOLDER = 5;
const CHUNK_BYTES = 65_536;

/** Ends the work with this reply. */
class Refusal extends Error {
  readonly reply: NamespaceReply;

  constructor(operation: string, errno: number, refused?: "changed" | "shared") {
    super(operation);
    this.reply = { ok: false, operation, errno, ...(refused === undefined ? {} : { refused }) };
  }
}

function expect(operation: string, { result, errno }: SyscallResult): number {
  if (result < 0) throw new Refusal(operation, errno);
  return result;
}

/** By the daemon's own /proc: there may be none in that namespace, or another one. */
function mountinfo(proc: number): string {
  const fd = expect(
    "open of mountinfo",
    openat.sync(proc, "self/mountinfo", O_RDONLY | O_CLOEXEC, 0),
  );
  const chunks: Buffer[] = [];
  for (;;) {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const bytes = readSync(fd, chunk);
    if (bytes === 0) break;
    chunks.push(chunk.subarray(0, bytes));
  }
  closeSync(fd);
  return Buffer.concat(chunks).toString("utf8");
}

function attach(proc: number, ownPeerGroups: readonly string[]): void {
  const { errno, mountId } = mountIdAt(FOLDER, "");
  if (errno !== 0) throw new Refusal("statx", errno);
  const parent = parseMountInfo(mountinfo(proc)).find((info) => info.mountId === mountId);
  // The folder is in no mount of this namespace.
  if (parent === undefined) throw new Refusal("move_mount", 0, "changed");
  if (parent.optionalFields.some((field) => ownPeerGroups.includes(field))) {
    throw new Refusal("move_mount", 0, "shared");
  }
  const flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  expect("move_mount", syscallMoveMount.sync(SYS_MOVE_MOUNT, MOUNT, "", FOLDER, "", flags));
}

function unmount({ target, mountId, flags }: NamespaceRequest & { type: "unmount" }): void {
  const parent = expect("openat2", pinFolderWithoutSymlinks(dirname(target)));
  const name = basename(target);
  const found = mountIdAt(parent, name);
  if (found.errno !== 0) throw new Refusal("statx", found.errno);
  if (found.mountId !== mountId) throw new Refusal("umount2", 0, "changed");
  expect("fchdir", fchdir.sync(parent));
  // Relative to the pinned folder; the name itself is not followed (UMOUNT_NOFOLLOW is in the flags).
  expect("umount2", umount2.sync(name, flags));
}

function work(request: NamespaceRequest): NamespaceReply {
  const proc = expect("open", open.sync("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
  // A thread may enter that shares its root and working folder with no other (setns(2)).
  expect("unshare", unshare.sync(CLONE_FS));
  expect("setns", setns.sync(NAMESPACE, CLONE_NEWNS));
  if (request.type === "attach") attach(proc, request.ownPeerGroups);
  if (request.type === "unmount") unmount(request);
  return { ok: true, mountinfo: mountinfo(proc) };
}

function reply(value: NamespaceReply): void {
  const bytes = Buffer.from(JSON.stringify(value));
  for (let written = 0; written < bytes.length;) written += writeSync(1, bytes, written);
}

const request = JSON.parse(readFileSync(0, "utf8")) as NamespaceRequest;
try {
  reply(work(request));
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  reply(error.reply);
}

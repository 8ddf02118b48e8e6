/**
 * Who is at the other end of a connected Unix socket, as the kernel noted it at connect(2):
 * SO_PEERCRED and SO_PEERGROUPS (unix(7)). This file fails closed: any doubt throws.
 */
import type { Socket } from "node:net";
import { NativeError } from "../errors.ts";
import { ERRNO, nativeErrorFromErrno } from "./errno.ts";
import { libcFunction } from "./libc.ts";

/** asm-generic/socket.h; amd64 and arm64 agree. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_DOMAIN = 39;
const SO_PEERGROUPS = 59;
const AF_UNIX = 1;
/** struct ucred: pid i32, uid u32, gid u32. */
const UCRED_BYTES = 12;
/** (uid_t) -1 and (gid_t) -1: "nobody known", what an unconnected socket answers. */
const UNKNOWN_ID = 0xffff_ffff;
/** First room for groups; the kernel says how many there are, NGROUPS_MAX is the bound. */
const FIRST_GROUPS = 64;
const MAX_GROUPS = 65_536;

const getsockopt = libcFunction(
  "int getsockopt(int fd, int level, int name, void *value, void *length)",
);

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /** The supplementary groups. */
  readonly groups: readonly number[];
}

function doubt(reason: string, object: string): NativeError {
  return new NativeError({
    code: "NATIVE_REFUSED",
    operation: "SO_PEERCRED",
    object,
    reason,
    hint: "Treat the peer as unknown: close the connection.",
  });
}

interface Answer {
  readonly errno: number;
  readonly lengthBytes: number;
}

function ask(fd: number, name: number, value: Buffer): Answer {
  const length = Buffer.alloc(4);
  length.writeInt32LE(value.length);
  const { errno } = getsockopt.sync(fd, SOL_SOCKET, name, value, length);
  return { errno, lengthBytes: length.readInt32LE() };
}

function askExactly(fd: number, name: number, operation: string, bytes: number): Buffer {
  const value = Buffer.alloc(bytes);
  const { errno, lengthBytes } = ask(fd, name, value);
  const object = `descriptor ${fd}`;
  if (errno !== 0) throw nativeErrorFromErrno({ operation, object, errno });
  if (lengthBytes !== bytes) {
    throw doubt(`${operation} gave ${lengthBytes} bytes, not ${bytes}`, object);
  }
  return value;
}

function peerGroups(fd: number): readonly number[] {
  const object = `descriptor ${fd}`;
  let value = Buffer.alloc(FIRST_GROUPS * 4);
  let answer = ask(fd, SO_PEERGROUPS, value);
  if (answer.errno === ERRNO.ERANGE) {
    if (answer.lengthBytes <= 0 || answer.lengthBytes > MAX_GROUPS * 4) {
      throw doubt(`SO_PEERGROUPS wants ${answer.lengthBytes} bytes`, object);
    }
    // What was noted at connect(2) never changes: the second answer has the first one's length.
    value = Buffer.alloc(answer.lengthBytes);
    answer = ask(fd, SO_PEERGROUPS, value);
  }
  const { errno, lengthBytes } = answer;
  if (errno !== 0) throw nativeErrorFromErrno({ operation: "SO_PEERGROUPS", object, errno });
  if (lengthBytes < 0 || lengthBytes > value.length || lengthBytes % 4 !== 0) {
    throw doubt(`SO_PEERGROUPS gave ${lengthBytes} bytes`, object);
  }
  return Array.from({ length: lengthBytes / 4 }, (_, index) => value.readUInt32LE(index * 4));
}

/** Throws where the descriptor is no connected Unix socket or the kernel's answer leaves a doubt. */
export function peerCredentials(fd: number): PeerCredentials {
  const object = `descriptor ${fd}`;
  if (!Number.isInteger(fd) || fd < 0) throw doubt("it is no descriptor", object);
  const domain = askExactly(fd, SO_DOMAIN, "SO_DOMAIN", 4).readInt32LE();
  if (domain !== AF_UNIX) throw doubt("it is no Unix socket", object);
  const ucred = askExactly(fd, SO_PEERCRED, "SO_PEERCRED", UCRED_BYTES);
  const pid = ucred.readInt32LE(0);
  const uid = ucred.readUInt32LE(4);
  const gid = ucred.readUInt32LE(8);
  // pid 0: the peer is in a pid namespace that this process does not see, or there is no peer.
  if (pid <= 0) throw doubt("the kernel names no process", object);
  if (uid === UNKNOWN_ID || gid === UNKNOWN_ID) throw doubt("the kernel names no user", object);
  return { pid, uid, gid, groups: peerGroups(fd) };
}

/**
 * The descriptor of an open socket. Node has no public way to it: the handle's `fd` is read, and
 * whatever is not what it should be throws.
 */
export function socketFd(socket: Socket): number {
  const handle: unknown = (socket as unknown as { readonly _handle?: unknown })._handle;
  const fd: unknown = (handle as { readonly fd?: unknown } | null | undefined)?.fd;
  if (socket.destroyed || typeof fd !== "number" || !Number.isInteger(fd) || fd < 0) {
    throw doubt("the socket has no open descriptor", "a socket");
  }
  return fd;
}

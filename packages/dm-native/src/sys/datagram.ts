/** One datagram to a Unix socket: Node has no way to send one (unix(7), sendto(2)). */
import { NativeError } from "../errors.ts";
import { closeDescriptor, O_CLOEXEC } from "./descriptor.ts";
import { nativeErrorFromErrno } from "./errno.ts";
import { libcFunction } from "./libc.ts";

/** bits/socket.h; amd64 and arm64 agree. SOCK_CLOEXEC is O_CLOEXEC. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
/** With MSG_NOSIGNAL and MSG_DONTWAIT: a receiver that does not read must not stop the sender. */
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;
/** struct sockaddr_un: family u16, path of 108 bytes. */
const FAMILY_BYTES = 2;
const MAX_PATH_BYTES = 107;

const socket = libcFunction("int socket(int domain, int type, int protocol)");
const sendto = libcFunction(
  "long sendto(int fd, const void *bytes, size_t count, int flags, const void *address, uint length)",
);

/** `address`: an absolute path, or "@name" in the abstract namespace. */
export function unixAddress(address: string): Buffer {
  const path = Buffer.from(address);
  const isAbstract = address.startsWith("@");
  if ((!isAbstract && !address.startsWith("/")) || path.length > MAX_PATH_BYTES) {
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "check of a socket's address",
      object: JSON.stringify(address),
      reason: "it is neither an absolute path nor an abstract name",
      hint: `Give one of at most ${MAX_PATH_BYTES} bytes.`,
    });
  }
  if (isAbstract) path[0] = 0;
  const family = Buffer.alloc(FAMILY_BYTES);
  family.writeUInt16LE(AF_UNIX);
  // A path ends with a NUL; an abstract name has exactly its bytes.
  return Buffer.concat([family, path, Buffer.alloc(isAbstract ? 0 : 1)]);
}

export async function sendDatagram(address: string, text: string): Promise<void> {
  const to = unixAddress(address);
  const bytes = Buffer.from(text);
  const opened = socket.sync(AF_UNIX, SOCK_DGRAM | O_CLOEXEC, 0);
  if (opened.result < 0) {
    throw nativeErrorFromErrno({ operation: "socket", object: address, errno: opened.errno });
  }
  try {
    const flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    const { result, errno } = sendto.sync(opened.result, bytes, bytes.length, flags, to, to.length);
    if (result < 0) throw nativeErrorFromErrno({ operation: "sendto", object: address, errno });
  } finally {
    await closeDescriptor(opened.result);
  }
}

/**
 * One open descriptor at a time from process to process over a connected Unix socket (SCM_RIGHTS,
 * unix(7)), with a number by which both ends know it. Neither call waits.
 */
import koffi from "koffi";
import { NativeError } from "../errors.ts";
import { nativeErrorFromErrno } from "./errno.ts";
import { close } from "./libc.ts";

/** sys/socket.h, asm-generic/socket.h; amd64 and arm64 agree. */
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 0x8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
/** struct cmsghdr: length u64, level i32, type i32; then one descriptor, the whole padded to 8. */
const CMSG_HEADER = 16;
const CMSG_LENGTH = 20;
const CMSG_SPACE = 24;
const NUMBER_BYTES = 4;

const library = koffi.load(null);
const iovec = koffi.struct({ base: "void *", length: "size_t" });
const messageHeader = koffi.struct({
  name: "void *",
  nameLength: "uint32_t",
  vector: koffi.pointer(iovec),
  vectorCount: "size_t",
  control: "void *",
  controlLength: "size_t",
  flags: "int",
});
const sendmsg = library.func("sendmsg", "long", ["int", koffi.pointer(messageHeader), "int"]);
const recvmsg = library.func("recvmsg", "long", [
  "int",
  koffi.inout(koffi.pointer(messageHeader)),
  "int",
]);

interface MessageHeader {
  readonly controlLength: number | bigint;
  readonly flags: number;
}

function headerOf(payload: Buffer, control: Buffer): MessageHeader {
  const fields = {
    name: null,
    nameLength: 0,
    vector: { base: payload, length: payload.length },
    vectorCount: 1,
    control,
    controlLength: control.length,
    flags: 0,
  };
  return fields;
}

/** The receiver gets a descriptor of its own: this one stays open. Throws NATIVE_IO (EAGAIN) where it does not take them. */
export function sendDescriptor(socket: number, descriptor: number, number: number): void {
  const payload = Buffer.alloc(NUMBER_BYTES);
  payload.writeUInt32LE(number);
  const control = Buffer.alloc(CMSG_SPACE);
  control.writeBigUInt64LE(BigInt(CMSG_LENGTH), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  control.writeInt32LE(descriptor, 16);
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  const sent = sendmsg(socket, headerOf(payload, control), flags) as number;
  if (sent === NUMBER_BYTES) return;
  const object = `descriptor ${descriptor}`;
  throw nativeErrorFromErrno({ operation: "sendmsg", object, errno: koffi.errno() });
}

export interface ReceivedDescriptor {
  /** Close-on-exec; the caller closes it. */
  readonly descriptor: number;
  readonly number: number;
}

/** The kernel takes the padding for room: there may be two. */
function descriptorsIn(control: Buffer, length: number): readonly number[] {
  const isRights =
    length >= CMSG_LENGTH &&
    control.readInt32LE(8) === SOL_SOCKET &&
    control.readInt32LE(12) === SCM_RIGHTS;
  if (!isRights) return [];
  const bytes = Math.min(Number(control.readBigUInt64LE(0)), CMSG_SPACE) - CMSG_HEADER;
  return Array.from({ length: Math.floor(bytes / 4) }, (_, index) =>
    control.readInt32LE(CMSG_HEADER + index * 4),
  );
}

/** The next one, which must have been sent already. Throws NATIVE_REFUSED where there is none. */
export function receiveDescriptor(socket: number): ReceivedDescriptor {
  const payload = Buffer.alloc(NUMBER_BYTES);
  const control = Buffer.alloc(CMSG_SPACE);
  const header = headerOf(payload, control);
  const got = recvmsg(socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) as number;
  const object = `descriptor ${socket}`;
  if (got < 0) throw nativeErrorFromErrno({ operation: "recvmsg", object, errno: koffi.errno() });
  const [descriptor, ...more] = descriptorsIn(control, Number(header.controlLength));
  const isWhole = got === NUMBER_BYTES && (header.flags & MSG_CTRUNC) === 0;
  if (descriptor !== undefined && more.length === 0 && isWhole) {
    return { descriptor, number: payload.readUInt32LE() };
  }
  for (const unwanted of descriptor === undefined ? [] : [descriptor, ...more]) {
    close.sync(unwanted);
  }
  throw new NativeError({
    code: "NATIVE_REFUSED",
    operation: "recvmsg",
    object,
    reason: "the message does not carry one descriptor",
    hint: "Close the socket: its other end does not keep to the agreement.",
  });
}

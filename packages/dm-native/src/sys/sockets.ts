/**
 * Sockets that Node has no way to make: a connected pair of Unix sockets (socketpair(2)), and a TCP
 * socket that listens and that nobody accepts from in this process (listen(2)). Both as descriptors,
 * close-on-exec, to be given to another process.
 */
import { isIP } from "node:net";
import { NativeError } from "../errors.ts";
import { O_CLOEXEC, expectResult } from "./descriptor.ts";
import { close, libcFunction } from "./libc.ts";

/** bits/socket.h, asm-generic/socket.h; amd64 and arm64 agree. SOCK_CLOEXEC is O_CLOEXEC. */
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
/** struct sockaddr_in: family u16, port u16 (network order), address of 4 bytes, 8 of padding. */
const IPV4_BYTES = 16;
/** struct sockaddr_in6: family u16, port u16, flow u32, address of 16 bytes, scope u32. */
const IPV6_BYTES = 28;
const ADDRESS_AT_IPV4 = 4;
const ADDRESS_AT_IPV6 = 8;
const PORT_AT = 2;
const MAX_PORT = 65_535;

const socketpair = libcFunction("int socketpair(int domain, int type, int protocol, void *fds)");
const socket = libcFunction("int socket(int domain, int type, int protocol)");
const setsockopt = libcFunction(
  "int setsockopt(int fd, int level, int name, const void *value, uint length)",
);
const bind = libcFunction("int bind(int fd, const void *address, uint length)");
const listen = libcFunction("int listen(int fd, int backlog)");
const getsockname = libcFunction("int getsockname(int fd, void *address, void *length)");
const inetPton = libcFunction("int inet_pton(int family, const char *text, void *address)");

/** Both ends of a stream, non-blocking. The caller closes them. */
export function socketPair(): readonly [number, number] {
  const ends = Buffer.alloc(8);
  const type = SOCK_STREAM | SOCK_NONBLOCK | O_CLOEXEC;
  expectResult(socketpair.sync(AF_UNIX, type, 0, ends), {
    operation: "socketpair",
    object: "a pair of sockets",
  });
  return [ends.readInt32LE(0), ends.readInt32LE(4)];
}

export interface ListeningSocket {
  /** Non-blocking. The caller closes it. */
  readonly descriptor: number;
  /** The one that was asked for, or, where that was 0, the kernel's choice. */
  readonly port: number;
}

function addressOf(host: string, port: number): Buffer {
  const version = isIP(host);
  if (version === 0 || !Number.isInteger(port) || port < 0 || port > MAX_PORT) {
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "check of an address",
      object: JSON.stringify(`${host}:${port}`),
      reason: "it is no IP address with a port",
      hint: "Give an address in numbers, as 127.0.0.1 or ::1, and a port.",
    });
  }
  const family = version === 4 ? AF_INET : AF_INET6;
  const address = Buffer.alloc(version === 4 ? IPV4_BYTES : IPV6_BYTES);
  address.writeUInt16LE(family, 0);
  address.writeUInt16BE(port, PORT_AT);
  const at = version === 4 ? ADDRESS_AT_IPV4 : ADDRESS_AT_IPV6;
  // 1: understood. The scope that "fe80::1%eth0" names is not one that inet_pton(3) knows.
  if (inetPton.sync(family, host, address.subarray(at)).result !== 1) {
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: "inet_pton",
      object: JSON.stringify(host),
      reason: "the C library does not take it for an address",
      hint: "Give an address without a scope.",
    });
  }
  return address;
}

/** `host`: an IP address in numbers. Throws NativeError; EADDRINUSE where another socket has it. */
export function listenTcp(host: string, port: number, backlog: number): ListeningSocket {
  const address = addressOf(host, port);
  const object = `${host}:${port}`;
  const type = SOCK_STREAM | SOCK_NONBLOCK | O_CLOEXEC;
  const made = socket.sync(address.readUInt16LE(0), type, 0);
  const descriptor = expectResult(made, { operation: "socket", object });
  try {
    const one = Buffer.alloc(4);
    one.writeInt32LE(1);
    const reuse = setsockopt.sync(descriptor, SOL_SOCKET, SO_REUSEADDR, one, one.length);
    expectResult(reuse, { operation: "SO_REUSEADDR", object });
    expectResult(bind.sync(descriptor, address, address.length), { operation: "bind", object });
    expectResult(listen.sync(descriptor, backlog), { operation: "listen", object });
    const name = Buffer.alloc(IPV6_BYTES);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(name.length);
    const named = getsockname.sync(descriptor, name, length);
    expectResult(named, { operation: "getsockname", object });
    return { descriptor, port: name.readUInt16BE(PORT_AT) };
  } catch (error) {
    close.sync(descriptor);
    throw error;
  }
}

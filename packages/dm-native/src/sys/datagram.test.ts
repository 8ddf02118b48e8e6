import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { sendDatagram, unixAddress } from "./datagram.ts";
import { closeDescriptor } from "./descriptor.ts";
import { libcFunction } from "./libc.ts";

const socket = libcFunction("int socket(int domain, int type, int protocol)");
const bind = libcFunction("int bind(int fd, const void *address, uint length)");
const recv = libcFunction("long recv(int fd, void *bytes, size_t count, int flags)");
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const MSG_DONTWAIT = 0x40;

for (const kind of ["a path", "an abstract name"] as const) {
  test(`a datagram to ${kind} arrives whole`, async () => {
    const folder = await mkdtemp(join(tmpdir(), "thinpool-datagram-"));
    const address =
      kind === "a path" ? join(folder, "s") : `@thinpool-datagram-${process.pid}-${Date.now()}`;
    const { result: fd } = socket.sync(AF_UNIX, SOCK_DGRAM, 0);
    try {
      const bytes = unixAddress(address);
      assert.equal(bind.sync(fd, bytes, bytes.length).result, 0);
      await sendDatagram(address, "READY=1\nSTATUS=hello");
      const received = Buffer.alloc(100);
      const { result } = recv.sync(fd, received, received.length, MSG_DONTWAIT);
      assert.equal(received.toString("utf8", 0, result), "READY=1\nSTATUS=hello");
    } finally {
      await closeDescriptor(fd);
      await rm(folder, { recursive: true });
    }
    await assert.rejects(sendDatagram(address, "x"));
  });
}

test("an address that is none is refused", () => {
  assert.throws(() => unixAddress("relative"), { code: "NATIVE_INVALID" });
  assert.throws(() => unixAddress(`/${"x".repeat(107)}`), { code: "NATIVE_INVALID" });
});

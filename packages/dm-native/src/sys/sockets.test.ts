import assert from "node:assert/strict";
import { once } from "node:events";
import { Socket, createConnection, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { listenTcp, socketPair } from "./sockets.ts";

test("what goes in at one end of a pair comes out at the other, and its end too", async () => {
  const [left, right] = socketPair().map(
    (fd) => new Socket({ fd, readable: true, writable: true }),
  );
  assert.ok(left !== undefined && right !== undefined);
  left.end("hello");
  const [data] = (await once(right, "data")) as [Buffer];
  assert.equal(data.toString(), "hello");
  await once(right, "close");
});

const loopback = networkInterfaces()["lo"] ?? [];

for (const host of ["127.0.0.1", "::1"]) {
  const has = loopback.some(({ address }) => address === host);
  const skip = has ? false : "this machine does not have the address";
  test(
    `a socket that listens at ${host} is served by whoever has the descriptor`,
    { skip },
    async () => {
      const { descriptor, port } = listenTcp(host, 0, 8);
      assert.ok(port > 0);
      // In the backlog: nobody has accepted it.
      const client = createConnection({ host, port });
      await once(client, "connect");
      const server = createServer((socket) => socket.end("served"));
      server.listen({ fd: descriptor });
      const [data] = (await once(client, "data")) as [Buffer];
      assert.equal(data.toString(), "served");
      client.destroy();
      assert.throws(() => listenTcp(host, port, 8), { errnoName: "EADDRINUSE" });
      server.close();
    },
  );
}

test("a name, a port out of range, a scope: refused before the kernel is asked", () => {
  assert.throws(() => listenTcp("localhost", 1, 1), { code: "NATIVE_INVALID" });
  assert.throws(() => listenTcp("127.0.0.1", 65_536, 1), { code: "NATIVE_INVALID" });
  assert.throws(() => listenTcp("fe80::1%eth0", 1, 1), { code: "NATIVE_INVALID" });
});

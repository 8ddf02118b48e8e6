import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { connect, createServer, Socket } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { peerCredentials, socketFd } from "./peer-credentials.ts";

const folder = mkdtempSync(join(tmpdir(), "peer-"));
after(() => rmSync(folder, { recursive: true }));

async function accept(server: Server, client: Socket): Promise<Socket> {
  const [socket] = (await once(server, "connection")) as [Socket];
  after(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  return socket;
}

test("the peer of a Unix socket is this very process", async () => {
  const path = join(folder, "socket");
  const server = createServer().listen(path);
  await once(server, "listening");
  const socket = await accept(server, connect(path));
  const peer = peerCredentials(socketFd(socket));
  assert.equal(peer.pid, process.pid);
  assert.equal(peer.uid, process.geteuid?.());
  assert.equal(peer.gid, process.getegid?.());
  const groups = process.getgroups?.() ?? [];
  for (const group of peer.groups) assert.ok(groups.includes(group));
});

test("a TCP socket, a file, a closed descriptor and nonsense are refused", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const socket = await accept(server, connect(port, "127.0.0.1"));
  assert.throws(() => peerCredentials(socketFd(socket)), { code: "NATIVE_REFUSED" });
  const file = openSync("/dev/null", "r");
  assert.throws(() => peerCredentials(file), { name: "NativeError", errnoName: "ENOTSOCK" });
  closeSync(file);
  assert.throws(() => peerCredentials(file), { name: "NativeError" });
  for (const fd of [-1, 1.5, Number.NaN]) {
    assert.throws(() => peerCredentials(fd), { code: "NATIVE_REFUSED" });
  }
});

test("a socket without a descriptor is refused", () => {
  const never = new Socket();
  assert.throws(() => socketFd(never), { code: "NATIVE_REFUSED" });
  never.destroy();
  assert.throws(() => socketFd(never), { code: "NATIVE_REFUSED" });
});

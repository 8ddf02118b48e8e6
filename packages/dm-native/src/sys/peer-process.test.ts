import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { peerCredentials, socketFd } from "./peer-credentials.ts";
import { PeerProcess } from "./peer-process.ts";

const CLIENT = `require("node:net").connect(process.argv[1]).on("close", () => process.exit())`;

test("a peer is alive until it ends; one that has ended is none, though its connection waits", async () => {
  const folder = await mkdtemp(join(tmpdir(), "thinpool-peer-"));
  const server = createServer({ pauseOnConnect: true });
  server.listen(join(folder, "s"));
  await once(server, "listening");
  try {
    const connected = once(server, "connection");
    const child = spawn(process.execPath, ["-e", CLIENT, join(folder, "s")]);
    const [socket] = (await connected) as [Socket];
    const credentials = peerCredentials(socketFd(socket));
    assert.equal(credentials.pid, child.pid);
    using peer = PeerProcess.of(socketFd(socket), credentials) ?? assert.fail("it is there");
    assert.equal(peer.pid, child.pid);
    assert.equal(peer.isAlive, true);
    // Whoever has the number by now must be the same user's.
    const other = { ...credentials, uid: credentials.uid + 1 };
    const known = PeerProcess.of(socketFd(socket), other);
    // Where the kernel itself names the process there is nothing to compare.
    if (known !== undefined) known.close();
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    assert.equal(peer.isAlive, false);
    assert.equal(PeerProcess.of(socketFd(socket), credentials), undefined);
    peer.close();
    assert.equal(peer.isAlive, false);
    socket.destroy();
  } finally {
    server.close();
    await rm(folder, { recursive: true });
  }
});

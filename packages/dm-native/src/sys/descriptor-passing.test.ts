import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { test } from "node:test";
import { receiveDescriptor, sendDescriptor } from "./descriptor-passing.ts";
import { socketFd } from "./peer-credentials.ts";

/** Takes the descriptor that it is told of on stdin, and prints what the file holds. */
const RECEIVER = `
  const { readFileSync } = await import("node:fs");
  const { receiveDescriptor } = await import(process.argv[1]);
  process.stdin.once("data", () => {
    const { descriptor, number } = receiveDescriptor(3);
    console.log(number, readFileSync(descriptor, "utf8").length);
    process.exit();
  });
  console.log("ready");
`;

function receiver(): ReturnType<typeof spawn> {
  const module = new URL("./descriptor-passing.ts", import.meta.url).href;
  const args = ["--conditions=source", "--input-type=module", "-e", RECEIVER, module];
  return spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit", "pipe"] });
}

test("a descriptor arrives in another process, with its number; the sender keeps its own", async () => {
  const child = receiver();
  const lane = child.stdio[3];
  assert.ok(child.stdout && child.stdin && lane instanceof Socket);
  await once(child.stdout, "data");
  const file = openSync("/etc/passwd", "r");
  sendDescriptor(socketFd(lane), file, 4_000_000_000);
  child.stdin.write("go");
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  assert.equal(line.toString(), `4000000000 ${readFileSync("/etc/passwd", "utf8").length}\n`);
  assert.ok(fstatSync(file).isFile());
  closeSync(file);
  await once(child, "close");
});

test("who does not take them gets no more than the kernel holds; nothing waits", async () => {
  const child = receiver();
  const lane = child.stdio[3];
  assert.ok(child.stdout && lane instanceof Socket);
  await once(child.stdout, "data");
  const file = openSync("/dev/null", "r");
  assert.throws(
    () => {
      for (let sent = 0; sent < 100_000; sent += 1) sendDescriptor(socketFd(lane), file, sent);
    },
    (error: Error & { errnoName?: string }) =>
      error.errnoName === "EAGAIN" || error.errnoName === "ETOOMANYREFS",
  );
  closeSync(file);
  lane.on("error", () => {
    // ECONNRESET: it died with descriptors that it had not taken.
  });
  child.kill("SIGKILL");
  await once(child, "close");
  assert.throws(() => sendDescriptor(socketFd(lane), 0, 1), { name: "NativeError" });
});

test("nothing sent, a plain byte, a file, a closed descriptor: refused", async () => {
  const child = receiver();
  const lane = child.stdio[3];
  assert.ok(child.stdout && lane instanceof Socket);
  await once(child.stdout, "data");
  assert.throws(() => receiveDescriptor(socketFd(lane)), { errnoName: "EAGAIN" });
  child.kill("SIGKILL");
  await once(child, "close");
  const file = openSync("/dev/null", "r");
  assert.throws(() => receiveDescriptor(file), { errnoName: "ENOTSOCK" });
  assert.throws(() => sendDescriptor(file, file, 1), { errnoName: "ENOTSOCK" });
  closeSync(file);
  assert.throws(() => receiveDescriptor(file), { errnoName: "EBADF" });
});

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, fstatSync, openSync, readdirSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { test } from "node:test";
import koffi from "koffi";
import { closeDescriptor } from "./descriptor.ts";
import { receiveDescriptor, sendDescriptor } from "./descriptor-passing.ts";
import { socketFd } from "./peer-credentials.ts";
import { socketPair } from "./sockets.ts";

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

/** The kernel's padding makes room for two where one is expected (cmsg(3)). */
function sendTwo(socket: number, descriptor: number): void {
  const iovec = koffi.struct({ base: "void *", length: "size_t" });
  const header = koffi.struct({
    name: "void *",
    nameLength: "uint32_t",
    vector: koffi.pointer(iovec),
    vectorCount: "size_t",
    control: "void *",
    controlLength: "size_t",
    flags: "int",
  });
  const sendmsg = koffi.load(null).func("sendmsg", "long", ["int", koffi.pointer(header), "int"]);
  const control = Buffer.alloc(24);
  control.writeBigUInt64LE(24n, 0);
  control.writeInt32LE(1, 8);
  control.writeInt32LE(1, 12);
  control.writeInt32LE(descriptor, 16);
  control.writeInt32LE(descriptor, 20);
  const vector = { base: Buffer.alloc(4), length: 4 };
  const message = { name: null, nameLength: 0, vector, vectorCount: 1, flags: 0 };
  const sent = sendmsg(socket, { ...message, control, controlLength: 24 }, 0) as number;
  assert.equal(sent, 4);
}

test("two at once are refused, and neither is left open", async () => {
  const [here, there] = socketPair();
  const opened = (): readonly string[] => readdirSync("/proc/self/fd");
  const before = opened();
  sendTwo(there, 0);
  assert.throws(() => receiveDescriptor(here), { code: "NATIVE_REFUSED" });
  assert.deepEqual(opened(), before);
  for (const end of [here, there]) await closeDescriptor(end);
});

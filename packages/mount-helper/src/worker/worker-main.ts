/**
 * The worker's program, started by worker-process.ts. As root it only loads its modules, and waits to be
 * told who it is; it gives all privileges up before the first byte from anybody but the daemon is read,
 * and serves only when the kernel confirms that. Descriptor 3 is the channel to the daemon, 4 the way that
 * sockets come.
 */
import { Socket } from "node:net";
import { receiveDescriptor } from "@thinpool/thinpool";
import type { ToBack, ToFront } from "../server/channel.ts";
import { encodeFrame, FrameReader } from "./frames.ts";
import type { Frame } from "./frames.ts";
import { Front } from "./front.ts";
import { MAX_FRAME_TO_FRONT_BYTES } from "./limits.ts";
import { assertUnprivileged, dropPrivileges } from "./privileges.ts";
import type { Identity } from "./privileges.ts";
import { CHANNEL_DESCRIPTOR, SOCKETS_DESCRIPTOR } from "./worker-process.ts";
import type { FromWorker, ToWorker } from "./worker-process.ts";

const channel = new Socket({ fd: CHANNEL_DESCRIPTOR, readable: true, writable: true });
const reader = new FrameReader(MAX_FRAME_TO_FRONT_BYTES, (frame) => receive(frame));
/** Undefined while it is nobody's. */
let front: Front | undefined;
let corked = false;

/** What one turn of the event loop has to say goes out in one write. */
function send(message: ToBack | FromWorker): void {
  if (!corked) {
    corked = true;
    channel.cork();
    process.nextTick(() => {
      corked = false;
      channel.uncork();
    });
  }
  channel.write(encodeFrame(message));
}

function receive({ head, body }: Frame): void {
  // The daemon is trusted: these come from its own code.
  const message = head as ToWorker;
  if (message.type === "become") {
    become(message);
    return;
  }
  if (front === undefined) throw new Error(`${message.type} came before anybody to serve`);
  switch (message.type) {
    case "ping":
      send({ type: "pong" });
      return;
    case "adopt":
      adopt(front, message.connection);
      return;
    case "answer":
    case "push":
    case "close":
    case "transfer":
    case "withdraw":
      front.receive({ ...message, text: body } as ToFront);
  }
}

function become({ uid, gid }: Identity): void {
  if (front !== undefined) throw new Error("it is somebody's already");
  const identity = { uid, gid };
  dropPrivileges(identity);
  assertUnprivileged("self", identity);
  front = new Front((message: ToBack) => send(message));
  send({ type: "ready" });
}

function adopt(to: Front, connection: number): void {
  const { descriptor, number } = receiveDescriptor(SOCKETS_DESCRIPTOR);
  if (number !== connection) throw new Error(`socket ${number} came for connection ${connection}`);
  to.adopt(
    connection,
    new Socket({ fd: descriptor, readable: true, writable: true, allowHalfOpen: true }),
  );
}

channel.on("data", (chunk: Buffer) => reader.push(chunk));
channel.on("error", () => {
  // "close" follows.
});
// Without the daemon there is nothing to serve.
channel.on("close", () => process.exit(0));

/**
 * How a process that works for the daemon begins. As root it only loads its modules, and waits to be told
 * who it is; it gives all privileges up before the first byte from anybody but the daemon is read, and
 * serves only when the kernel confirms that. Descriptor 3 is the channel to the daemon, 4 the way that
 * sockets come.
 */
import { Socket } from "node:net";
import { receiveDescriptor } from "@thinpool/thinpool";
import { encodeFrame, FrameReader } from "./frames.ts";
import type { Frame } from "./frames.ts";
import { assertUnprivileged, dropPrivileges } from "./privileges.ts";
import type { Identity } from "./privileges.ts";
import { CHANNEL_DESCRIPTOR, SOCKETS_DESCRIPTOR } from "./worker-process.ts";
import type { FromConfined, ToConfined } from "./worker-process.ts";

export interface DaemonChannel {
  send(message: object): void;
  /** The descriptor that was sent with that number; throws where another was, or none. */
  take(number: number): number;
}

/**
 * Serves the daemon until it is gone. `begin` is called once, without privileges, and gives what each
 * further frame goes to. The daemon is trusted: what it sends comes from its own code.
 */
export function serveDaemon(
  maxFrameBytes: number,
  begin: (channel: DaemonChannel) => (frame: Frame) => void,
): void {
  const socket = new Socket({ fd: CHANNEL_DESCRIPTOR, readable: true, writable: true });
  let serve: ((frame: Frame) => void) | undefined;
  let corked = false;
  /** What one turn of the event loop has to say goes out in one write. */
  const send = (message: object): void => {
    if (!corked) {
      corked = true;
      socket.cork();
      process.nextTick(() => {
        corked = false;
        socket.uncork();
      });
    }
    socket.write(encodeFrame(message));
  };
  const become = ({ uid, gid }: Identity): void => {
    if (serve !== undefined) throw new Error("it is somebody's already");
    const identity = { uid, gid };
    dropPrivileges(identity);
    assertUnprivileged("self", identity);
    serve = begin({ send, take });
    send({ type: "ready" } satisfies FromConfined);
  };
  const reader = new FrameReader(maxFrameBytes, (frame) => {
    const message = frame.head as ToConfined | { readonly type: "other" };
    if (message.type === "become") become(message);
    else if (serve === undefined) throw new Error(`${message.type} came before anybody to serve`);
    else if (message.type === "ping") send({ type: "pong" } satisfies FromConfined);
    else serve(frame);
  });
  socket.on("data", (chunk: Buffer) => reader.push(chunk));
  socket.on("error", () => {
    // "close" follows.
  });
  // Without the daemon there is nothing to serve.
  socket.on("close", () => process.exit(0));
}

function take(expected: number): number {
  const { descriptor, number } = receiveDescriptor(SOCKETS_DESCRIPTOR);
  if (number === expected) return descriptor;
  throw new Error(`descriptor ${number} came in the place of ${expected}`);
}

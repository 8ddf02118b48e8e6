/** The worker's program, started by worker-process.ts. */
import { Socket } from "node:net";
import type { ToFront } from "../server/channel.ts";
import { serveDaemon } from "./confined-main.ts";
import { Front } from "./front.ts";
import { MAX_FRAME_TO_FRONT_BYTES } from "./limits.ts";
import type { ToWorker } from "./worker-process.ts";

serveDaemon(MAX_FRAME_TO_FRONT_BYTES, (daemon) => {
  const front = new Front((message) => daemon.send(message));
  return ({ head, body }) => {
    const message = head as ToWorker;
    if (message.type === "adopt") {
      const { connection } = message;
      const socket = { fd: daemon.take(connection), readable: true, writable: true };
      front.adopt(connection, new Socket({ ...socket, allowHalfOpen: true }));
      return;
    }
    front.receive({ ...message, text: body } as ToFront);
  };
});

/** The gateway's program, started by gateway-process.ts. */
import { Socket } from "node:net";
import { serveDaemon } from "../worker/confined-main.ts";
import { Gateway } from "./gateway.ts";
import { MAX_FRAME_TO_GATEWAY_BYTES } from "./limits.ts";
import type { ToGateway } from "./messages.ts";
import { LISTEN_NUMBER } from "./messages.ts";

serveDaemon(MAX_FRAME_TO_GATEWAY_BYTES, (daemon) => {
  const gateway = new Gateway((message) => daemon.send(message));
  return ({ head }) => {
    const message = head as ToGateway;
    switch (message.type) {
      case "certificate":
        gateway.setCertificate(message);
        return;
      case "listen":
        gateway.listen(daemon.take(LISTEN_NUMBER), message.origins);
        return;
      case "admitted": {
        const fd = daemon.take(message.id);
        gateway.admit(message.id, new Socket({ fd, readable: true, writable: true }));
        return;
      }
      case "refused":
        gateway.refuse(message.id);
        return;
      case "cut":
        gateway.cut(message.id);
        return;
      case "stop":
        gateway.stopAccepting();
    }
  };
});

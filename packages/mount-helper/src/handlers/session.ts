/** session.*: what belongs to a client beyond one connection. */
import { RequestError } from "../errors.ts";
import type { HandlerParts, Topic } from "./handler.ts";

export function sessionHandlers({ sessions }: HandlerParts): Topic<"session"> {
  return {
    "session.resume": ({ id, secret }, { uid }, { connection }) => {
      if (sessions.resume(uid, id, secret, connection)) {
        return Promise.resolve({ graceMs: sessions.graceMs });
      }
      throw new RequestError({
        code: "SESSION_GONE",
        operation: "session.resume",
        object: id,
        reason: "you have no such session",
      });
    },
  };
}

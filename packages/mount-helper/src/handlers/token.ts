/** token.*: rights on one device, given to whoever shows the token. */
import type { MethodResult } from "@thinpool/protocol";
import { RequestError } from "../errors.ts";
import type { Token } from "../policy/rights-store.ts";
import type { HandlerParts, Topic } from "./handler.ts";

export function tokenHandlers({ pool, access, book }: HandlerParts): Topic<"token"> {
  const nameOf = ({ deviceUuid }: Token): string | undefined =>
    pool.list({ uuid: deviceUuid })[0]?.name;
  return {
    "token.create": ({ device, allow, uid, lifetimeMs }, principal, call) => {
      const { token, secret } = book.createToken({
        id: call.newUuid(),
        deviceUuid: pool.get({ name: device }).uuid,
        creatorUid: principal.uid,
        allow,
        uid,
        expiresAtMs: Date.now() + lifetimeMs,
      });
      return Promise.resolve({ ...tokenToWire(token, device), secret });
    },

    "token.revoke": ({ id }, principal) => {
      const token = book.tokenById(id);
      const isAdmin = access.decide(principal, "admin", undefined).allowed;
      if (token === undefined || (token.creatorUid !== principal.uid && !isAdmin)) {
        throw new RequestError({
          code: "NOT_FOUND",
          operation: "token.revoke",
          object: id,
          reason: "you have made no such token",
          hint: "List your tokens to see which there are.",
        });
      }
      book.revoke(id);
      return Promise.resolve({});
    },

    "token.list": (_params, principal) => {
      const isAdmin = access.decide(principal, "admin", undefined).allowed;
      const own = book.tokens().filter(({ creatorUid }) => isAdmin || creatorUid === principal.uid);
      return Promise.resolve(
        own.flatMap((token) => {
          const name = nameOf(token);
          return name === undefined ? [] : [tokenToWire(token, name)];
        }),
      );
    },
  };
}

function tokenToWire(token: Token, device: string): MethodResult<"token.list">[number] {
  const { id, allow, uid, creatorUid, createdAtMs, expiresAtMs } = token;
  return {
    id,
    device,
    allow: [...allow],
    ...(uid === undefined ? {} : { uid }),
    creatorUid,
    createdAtMs,
    expiresAtMs,
  };
}

/** token.*: rights given to whoever shows the token: on one device, or to connect as a user. */
import type { MethodResult } from "@thinpool/protocol";
import { RequestError } from "../errors.ts";
import type { ConnectToken, Token } from "../policy/rights-store.ts";
import type { HandlerParts, Topic } from "./handler.ts";

export function tokenHandlers(parts: HandlerParts): Topic<"token"> {
  const { pool, access, book } = parts;
  const nameOf = ({ deviceUuid }: Token): string | undefined =>
    pool.list({ uuid: deviceUuid })[0]?.name;
  return {
    "token.create": async ({ device, allow, uid, lifetimeMs }, principal, call) => {
      const { token, secret } = await book.createToken({
        id: call.newUuid(),
        deviceUuid: pool.get({ name: device }).uuid,
        creatorUid: principal.uid,
        allow,
        uid,
        expiresAtMs: Date.now() + lifetimeMs,
      });
      return { ...tokenToWire(token, device), secret };
    },

    "token.createConnect": async ({ uid, lifetimeMs }, principal, call) => {
      const creatorUid = principal.uid;
      const forUid = uid ?? creatorUid;
      const reason =
        forUid !== creatorUid && creatorUid !== 0
          ? "you may connect as yourself only"
          : // A token that is stolen must not last beyond its time by what was made with it.
            call.token !== undefined
            ? "a client that has connected by a token makes no further ones"
            : undefined;
      if (reason !== undefined) {
        throw new RequestError({
          code: "FORBIDDEN",
          operation: "token.createConnect",
          object: `uid ${forUid}`,
          reason,
          hint: "Ask root on the daemon's machine for one.",
        });
      }
      const { token, secret } = await book.createConnectToken({
        id: call.newUuid(),
        uid: forUid,
        creatorUid,
        expiresAtMs: Date.now() + lifetimeMs,
      });
      return { ...token, secret };
    },

    "token.revoke": async ({ id }, principal) => {
      const token = book.tokenById(id);
      const connect = book.connectTokenById(id);
      const isAdmin = access.decide(principal, "admin", undefined).allowed;
      const isOwn =
        token?.creatorUid === principal.uid ||
        (connect !== undefined && isOf(connect, principal.uid));
      if ((token === undefined && connect === undefined) || (!isOwn && !isAdmin)) {
        throw new RequestError({
          code: "NOT_FOUND",
          operation: "token.revoke",
          object: id,
          reason: "you have made no such token",
          hint: "List your tokens to see which there are.",
        });
      }
      await book.revoke(id);
      if (connect !== undefined) parts.connectTokenEnded();
      return {};
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

    "token.listConnect": (_params, principal) => {
      const isAdmin = access.decide(principal, "admin", undefined).allowed;
      const own = book.connectTokens().filter((token) => isAdmin || isOf(token, principal.uid));
      return Promise.resolve(own.map((token) => ({ ...token })));
    },
  };
}

/** Whoever may be entered by it may end it, too. */
function isOf({ uid, creatorUid }: ConnectToken, who: number): boolean {
  return uid === who || creatorUid === who;
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

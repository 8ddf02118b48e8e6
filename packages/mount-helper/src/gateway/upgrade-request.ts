/** The upgrade request of a network client: its token, its origin, and what of it the worker gets. */
import type { IncomingHttpHeaders } from "node:http";
import { SUBPROTOCOL, TOKEN_SUBPROTOCOL_PREFIX } from "@thinpool/protocol";
import type { NoteReason } from "./messages.ts";

const TOKEN = /^[A-Za-z0-9_-]{43}$/;
const BEARER = /^Bearer +(\S+)$/i;
/** What the worker needs of the request, beside the subprotocols. Not the token, which is spent. */
const PASSED_ON = ["Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"] as const;

export type Judged =
  | {
      readonly ok: true;
      readonly token: string;
      /** The request as the worker gets it. */
      readonly head: string;
    }
  | {
      readonly ok: false;
      readonly status: string;
      readonly text: string;
      readonly note: NoteReason;
    };

/** A browser says where the page is from that connects, and can't do otherwise; other clients say nothing. */
export function judgeUpgrade(headers: IncomingHttpHeaders, origins: ReadonlySet<string>): Judged {
  const { origin, authorization } = headers;
  if (origin !== undefined && !origins.has(origin)) {
    return {
      ok: false,
      status: "403 Forbidden",
      text: "This daemon does not serve pages of that origin.",
      note: "origin not allowed",
    };
  }
  const offered = listOf(headers["sec-websocket-protocol"]);
  const tokens = offered
    .filter((name) => name.startsWith(TOKEN_SUBPROTOCOL_PREFIX))
    .map((name) => name.slice(TOKEN_SUBPROTOCOL_PREFIX.length));
  const bearer = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
  if (bearer !== undefined) tokens.push(bearer);
  const [token, another] = tokens;
  if (another !== undefined) {
    const text = "Show one token, by a header or by a subprotocol.";
    return { ok: false, status: "400 Bad Request", text, note: "bad request" };
  }
  if (token === undefined || !TOKEN.test(token)) {
    const text = "Show a token (thinpool token connect makes one).";
    return { ok: false, status: UNAUTHORIZED, text, note: "no token" };
  }
  const lines = ["GET / HTTP/1.1", "Host: thinpool"];
  for (const name of PASSED_ON) {
    const value = headers[name.toLowerCase()];
    if (typeof value === "string") lines.push(`${name}: ${value}`);
  }
  // Whatever else was offered, the worker has only this to choose.
  if (offered.includes(SUBPROTOCOL)) lines.push(`Sec-WebSocket-Protocol: ${SUBPROTOCOL}`);
  return { ok: true, token, head: `${lines.join("\r\n")}\r\n\r\n` };
}

export const UNAUTHORIZED = "401 Unauthorized";

function listOf(header: string | undefined): readonly string[] {
  return (header ?? "").split(",").map((name) => name.trim());
}

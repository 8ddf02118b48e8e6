/**
 * Between the daemon and its gateway (gateway.ts), which reads what comes over TCP. The gateway is
 * believed in nothing: it shows tokens, which prove themselves, and what else it says is for the log.
 *
 *     daemon  certificate ─► gateway   at the start, and when it is read anew
 *     daemon  listen ─► gateway        with the listening socket; from now on it accepts
 *     gateway ask ─► daemon            a token; the id is the gateway's choice
 *     daemon  admitted ─► gateway      with a socket whose other end the user's worker has; what goes
 *                                      through it is as of a local client, the HTTP request first
 *     daemon  refused ─► gateway       there is no such token
 *     daemon  cut ─► gateway           its token has ended
 *     daemon  stop ─► gateway          accept no more
 */
import { tokenSecret } from "@thinpool/protocol";
import * as v from "valibot";
import { MAX_ADDRESS_LENGTH } from "./limits.ts";

export type ToGateway =
  | { readonly type: "certificate"; readonly certificate: string; readonly key: string }
  | { readonly type: "listen"; readonly origins: readonly string[] }
  | { readonly type: "admitted"; readonly id: number }
  | { readonly type: "refused"; readonly id: number }
  | { readonly type: "cut"; readonly id: number }
  | { readonly type: "stop" };

/** The number that goes with the listening socket; those of connections begin at 1. */
export const LISTEN_NUMBER = 0;
const MAX_ID = 0xffff_ffff;

/** Why somebody was not let in, where that is not for his token's sake. */
export const noteReasons = [
  "took too long",
  "no TLS",
  "bad request",
  "origin not allowed",
  "no token",
  "too many failed tokens",
  "too many half-open connections",
] as const;
export type NoteReason = (typeof noteReasons)[number];

export type FromGateway =
  | {
      readonly type: "ask";
      readonly id: number;
      readonly token: string;
      readonly address: string;
    }
  | { readonly type: "note"; readonly reason: NoteReason; readonly address: string };

const address = v.pipe(v.string(), v.maxLength(MAX_ADDRESS_LENGTH), v.regex(/^[0-9a-f.:]*$/));

/** Strict: both are of one version, so a field too many is a mistake. */
const fromGateway: v.GenericSchema<unknown, FromGateway> = v.variant("type", [
  v.strictObject({
    type: v.literal("ask"),
    id: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_ID)),
    token: tokenSecret,
    address,
  }),
  v.strictObject({ type: v.literal("note"), reason: v.picklist(noteReasons), address }),
]);

/** Undefined where it is no message of a gateway. */
export function checkFromGateway(message: unknown): FromGateway | undefined {
  const parsed = v.safeParse(fromGateway, message);
  return parsed.success ? parsed.output : undefined;
}

/** An IPv4 client of a socket that listens for both. */
const MAPPED_IPV4 = "::ffff:";

/** A client's address as messages have it, from Node's word for it ("" where the client is gone already). */
export function addressOf(remote = ""): string {
  // Of a link-local address Node names the interface, too: of this machine's, not the client's.
  const [plain = ""] = remote.split("%");
  return plain.startsWith(MAPPED_IPV4) ? plain.slice(MAPPED_IPV4.length) : plain;
}

/** The next id after `last`. */
export function nextId(last: number): number {
  return last === MAX_ID ? 1 : last + 1;
}

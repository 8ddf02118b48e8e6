/** The address of a daemon on another machine. */
import { clientError } from "./errors.ts";

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
/** As the daemon makes them. */
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

function invalid(reason: string): Error {
  // Not the text itself: what somebody takes for a URL may hold a secret.
  return clientError("ARGUMENT_INVALID", { operation: "connect", object: "the url", reason });
}

/**
 * Throws ARGUMENT_INVALID where it is none, or without TLS and not to this very machine (as through a
 * tunnel): a token that goes over a network in the clear is everybody's.
 */
export function checkDaemonUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "wss:" && url.protocol !== "ws:")) {
    throw invalid("it is no wss: URL, as wss://host.example.org:7474");
  }
  if (url.protocol === "ws:" && !LOOPBACK.test(url.hostname)) {
    throw invalid("ws: is without TLS, and for this very machine only: use wss:");
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw invalid("it holds more than host, port and path; a token is given as `token`");
  }
  return url;
}

/** Throws ARGUMENT_INVALID where it is no token's secret. */
export function checkToken(token: string): string {
  if (TOKEN.test(token)) return token;
  const reason = "it is no token: 43 letters, digits, - and _ (thinpool token connect makes one)";
  throw clientError("ARGUMENT_INVALID", { operation: "connect", object: "the token", reason });
}

/** The WebSocket over TCP, with TLS, in Node: opening it, and telling why it can't be opened. */
import { createConnection } from "node:net";
import type { Duplex } from "node:stream";
import type { ClientErrorCode } from "@thinpool/protocol";
import type { Dialler } from "./connection.ts";
import { checkDaemonUrl, checkToken } from "./daemon-url.ts";
import { clientError } from "./errors.ts";
import { dialInNode } from "./node-connection.ts";

export interface TcpTarget {
  /** wss://host:port, or ws: to this very machine. */
  readonly url: string;
  /** As `token.createConnect` told it. */
  readonly token?: string | undefined;
  /** Certificates in PEM to trust in place of the system's: the daemon's own, or its issuer's. */
  readonly ca?: string | undefined;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { "wss:": 443, "ws:": 80 };
/** OpenSSL's verdicts on a certificate, by the names that Node gives them. */
const TLS_CODES =
  /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_|INVALID_)|^EPROTO$/;
/** What the gateway answers to a token that is none. */
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;
const TOO_MANY_REQUESTS = 429;

/** Why a connection could not be opened, from Node's error. */
export function describeTcpFailure(error: unknown): {
  readonly code: ClientErrorCode;
  readonly reason: string;
} {
  const name =
    error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
  const text = error instanceof Error && error.message !== "" ? error.message : String(error);
  if (TLS_CODES.test(name)) return { code: "TLS_FAILED", reason: text };
  return { code: "DAEMON_UNREACHABLE", reason: text };
}

function describeRefusal(status: number): {
  readonly code: ClientErrorCode;
  readonly reason: string;
} {
  switch (status) {
    case UNAUTHORIZED:
      return { code: "UNAUTHORIZED", reason: "the daemon does not take this token, or none" };
    case FORBIDDEN:
      return { code: "UNAUTHORIZED", reason: "the daemon does not serve this origin" };
    case TOO_MANY_REQUESTS:
      return { code: "DAEMON_UNREACHABLE", reason: "too many wrong tokens came from here: wait" };
    default: {
      const reason = `the daemon did not take the call: HTTP status ${status}`;
      return { code: "DAEMON_UNREACHABLE", reason };
    }
  }
}

/** Throws ARGUMENT_INVALID. */
export function tcpDialler(target: TcpTarget): Dialler {
  const url = checkDaemonUrl(target.url);
  const { token, ca } = target;
  const headers = token === undefined ? {} : { Authorization: `Bearer ${checkToken(token)}` };
  const address = target.url;
  const context = { operation: "connect", object: address };
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? (DEFAULT_PORTS[url.protocol] ?? 0) : Number(url.port);
  const openPlain = (): Duplex => createConnection({ host, port });
  const dial = {
    address,
    host: url.host,
    headers,
    failure: (error: unknown) => {
      const { code, reason } = describeTcpFailure(error);
      return clientError(code, { ...context, reason, cause: error });
    },
    refusal: (status: number) => {
      const { code, reason } = describeRefusal(status);
      return clientError(code, { ...context, reason });
    },
  };
  return {
    address,
    dial: async (options) => {
      if (url.protocol === "ws:") return dialInNode({ ...dial, open: openPlain }, options);
      // A program that speaks with its own machine only does not pay for loading TLS.
      const { connect } = await import("node:tls");
      const { isIP } = await import("node:net");
      const secure = {
        host,
        port,
        minVersion: "TLSv1.3",
        ...(ca === undefined ? {} : { ca }),
        // RFC 6066: no address is a name to be asked for.
        ...(isIP(host) === 0 ? { servername: host } : {}),
      } as const;
      return dialInNode({ ...dial, open: () => connect(secure) }, options);
    },
  };
}

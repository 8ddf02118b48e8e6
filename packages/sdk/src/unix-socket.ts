/** The WebSocket over the Unix socket, in Node: opening it, and telling why it can't be opened. */
import { createConnection } from "node:net";
import { DEFAULT_SOCKET_PATH, SOCKET_ENVIRONMENT_VARIABLE } from "@thinpool/protocol";
import type { ClientErrorCode } from "@thinpool/protocol";
import type { Dialler } from "./connection.ts";
import { clientError } from "./errors.ts";
import { dialInNode } from "./node-connection.ts";

/** The given path, else that of the environment, else the daemon's default. */
export function chooseSocketPath(
  given: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): string {
  const fromEnvironment = environment[SOCKET_ENVIRONMENT_VARIABLE];
  if (given !== undefined) return given;
  return fromEnvironment === undefined || fromEnvironment === ""
    ? DEFAULT_SOCKET_PATH
    : fromEnvironment;
}

function errnoNameOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}

/** Why a connection could not be opened, from Node's error. */
export function describeOpenFailure(error: unknown): {
  readonly code: ClientErrorCode;
  readonly reason: string;
} {
  const name = errnoNameOf(error);
  switch (name) {
    case "ENOENT":
      return { code: "DAEMON_UNREACHABLE", reason: "there is no such socket (ENOENT)" };
    case "ECONNREFUSED":
      return { code: "DAEMON_UNREACHABLE", reason: "nobody listens there (ECONNREFUSED)" };
    case "EACCES":
    case "EPERM":
      return { code: "SOCKET_FORBIDDEN", reason: `this user may not open the socket (${name})` };
    case undefined:
    default: {
      const text = error instanceof Error ? error.message : String(error);
      return { code: "DAEMON_UNREACHABLE", reason: `the daemon did not take the call: ${text}` };
    }
  }
}

export function unixSocketDialler(socketPath: string): Dialler {
  const context = { operation: "connect", object: socketPath };
  const dial = {
    address: socketPath,
    host: "localhost",
    open: () => createConnection(socketPath),
    failure: (error: unknown) =>
      clientError(describeOpenFailure(error).code, {
        ...context,
        reason: describeOpenFailure(error).reason,
        cause: error,
      }),
    refusal: (status: number) =>
      clientError("DAEMON_UNREACHABLE", {
        ...context,
        reason: `the daemon did not take the call: HTTP status ${status}`,
      }),
  };
  return { address: socketPath, dial: (options) => dialInNode(dial, options) };
}

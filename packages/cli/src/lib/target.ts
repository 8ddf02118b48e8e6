/** Which daemon a command speaks to: this machine's, by its socket, or another's, by a URL and a token. */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { LocalConnectOptions, TcpConnectOptions } from "@thinpool/sdk";
import { DEFAULT_SOCKET } from "./defaults.ts";
import { UsageError } from "./errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** As the flags say; each undefined where its flag was not given. */
export interface Target {
  readonly socket?: string | undefined;
  readonly url?: string | undefined;
  /** A file. */
  readonly ca?: string | undefined;
}

/**
 * What was typed goes before the environment, and there a URL before a socket. The token comes from the
 * environment or a file alone: a command's words are in the list of processes, for all to see. Rejects
 * with UsageError.
 */
export async function connectOptionsOf(
  { socket, url, ca }: Target,
  environment: Environment,
): Promise<LocalConnectOptions | TcpConnectOptions> {
  if (url !== undefined && socket !== undefined) {
    throw new UsageError({
      reason: "--url is given beside --socket",
      hint: "Give the one or the other.",
    });
  }
  const chosen = urlOf({ socket, url }, environment);
  if (chosen === undefined) {
    if (ca !== undefined) {
      throw new UsageError({
        reason: "--ca is given without --url",
        hint: "Name the daemon: --url wss://HOST:PORT.",
      });
    }
    const path = socket ?? valueOf(environment, "THINPOOL_SOCKET") ?? DEFAULT_SOCKET;
    return { socketPath: resolve(path) };
  }
  const token = await tokenOf(environment);
  const file = ca ?? valueOf(environment, "THINPOOL_CA");
  return {
    url: chosen,
    ...(token === undefined ? {} : { token }),
    ...(file === undefined ? {} : { ca: await textOf(file, "The file of certificates") }),
  };
}

/** Undefined where this machine's daemon is meant. */
export function urlOf({ socket, url }: Target, environment: Environment): string | undefined {
  return url ?? (socket === undefined ? valueOf(environment, "THINPOOL_URL") : undefined);
}

async function tokenOf(environment: Environment): Promise<string | undefined> {
  const token = valueOf(environment, "THINPOOL_CONNECT_TOKEN");
  const file = valueOf(environment, "THINPOOL_CONNECT_TOKEN_FILE");
  if (file === undefined) return token;
  if (token !== undefined) {
    throw new UsageError({
      reason: "THINPOOL_CONNECT_TOKEN and THINPOOL_CONNECT_TOKEN_FILE are both set",
      hint: "Set the one or the other.",
    });
  }
  return (await textOf(file, "The token's file")).trim();
}

/** Set to nothing is not set. */
function valueOf(environment: Environment, name: string): string | undefined {
  const value = environment[name];
  return value === "" ? undefined : value;
}

async function textOf(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError({
      reason: `${what} can't be read: ${reason}`,
      hint: "Give the path of a file that you may read.",
    });
  }
}

/** The command line of thinpoold. */
import { parseArgs } from "node:util";
import { DEFAULT_SOCKET_PATH } from "@thinpool/protocol";
import { resolve } from "node:path";
import type { TcpOptions } from "./gateway/tcp-options.ts";
import { parseTcpFlags } from "./gateway/tcp-options.ts";
import type { MetricsAddress } from "./metrics/metrics-server.ts";
import { parseMetricsAddress } from "./metrics/metrics-server.ts";
import { DEFAULT_POLICY_FILE } from "./policy/policy-file.ts";
import { StartError } from "./start-error.ts";
import { MAX_SPARE_WORKERS } from "./worker/limits.ts";

/** A day: what is to be held longer is held by a lease. */
const MAX_GRACE_SECONDS = 86_400;

export interface Arguments {
  readonly folder: string;
  readonly socketPath: string;
  readonly socketGroup: string | undefined;
  /** Undefined: the default place, if there is a file. */
  readonly policyFile: string | undefined;
  readonly metrics: MetricsAddress | undefined;
  /** Undefined: nobody may come over TCP. */
  readonly tcp: TcpOptions | undefined;
  readonly sessionGraceMs: number | undefined;
  readonly spareWorkers: number | undefined;
  readonly teardown: boolean;
}

export const USAGE: string = `Usage: thinpoold --folder FOLDER [--socket PATH] [--socket-group GROUP]
                 [--policy FILE] [--metrics PATH|PORT] [--session-grace SECONDS]
                 [--spare-workers N] [--teardown]
                 [--tcp HOST:PORT --tls-certificate FILE --tls-key FILE [--tcp-origin ORIGIN]...]

Serves the thin pool in FOLDER to the users of this machine. Runs in the foreground, as root.

  --folder FOLDER       the pool's folder (thinpool pool create makes one)
  --socket PATH         where to listen; default ${DEFAULT_SOCKET_PATH}
  --socket-group GROUP  who may connect besides root; default: thinpool, if there is such a group
  --policy FILE         who may do what (docs/POLICY.md); default ${DEFAULT_POLICY_FILE}, if there
                        is one, else: who may connect clones public images; read anew on SIGHUP
  --metrics PATH|PORT   serve Prometheus metrics on a socket for root only, or a port of 127.0.0.1
  --tcp HOST:PORT       where to listen for clients on other machines, who show a token
                        (docs/POLICY.md); HOST is an IP address; default: nowhere
  --tls-certificate FILE, --tls-key FILE
                        what the daemon proves itself to them with, as PEM; the key's file must be
                        root's alone; both are read anew on SIGHUP
  --tcp-origin ORIGIN   pages of this origin may connect, as https://ci.example.org; can be given
                        several times; default: no browser may
  --session-grace SECONDS
                        how long what a client holds outlives its connection; default 30
  --spare-workers N     processes that wait for users who connect for the first time, so that they
                        need not wait for one; default 1, 0 for none
  --teardown            on SIGTERM or SIGINT release all mounts and take the pool down;
                        without it they stay for the next start
  --help                this text
  --version             the version
`;

function graceOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (seconds >= 1 && seconds <= MAX_GRACE_SECONDS) return seconds * 1000;
  throw new Error(`--session-grace must be from 1 to ${MAX_GRACE_SECONDS} seconds, not ${text}`);
}

function sparesOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d$/.test(text) && Number(text) <= MAX_SPARE_WORKERS) return Number(text);
  throw new Error(`--spare-workers must be from 0 to ${MAX_SPARE_WORKERS}, not ${text}`);
}

/** The daemon works in "/". */
function absolute(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path);
}

/** "help" or "version" where that was asked for. Throws StartError with OPTION_INVALID. */
export function parseArguments(argv: readonly string[]): Arguments | "help" | "version" {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        folder: { type: "string" },
        socket: { type: "string" },
        "socket-group": { type: "string" },
        policy: { type: "string" },
        metrics: { type: "string" },
        tcp: { type: "string" },
        "tls-certificate": { type: "string" },
        "tls-key": { type: "string" },
        "tcp-origin": { type: "string", multiple: true, default: [] },
        "session-grace": { type: "string" },
        "spare-workers": { type: "string" },
        teardown: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
        version: { type: "boolean", default: false },
      },
      strict: true,
    });
    if (values.help) return "help";
    if (values.version) return "version";
    if (values.folder === undefined) throw new Error("--folder is missing");
    return {
      folder: values.folder,
      socketPath: values.socket ?? DEFAULT_SOCKET_PATH,
      socketGroup: values["socket-group"],
      policyFile: values.policy,
      metrics: values.metrics === undefined ? undefined : parseMetricsAddress(values.metrics),
      tcp: parseTcpFlags({
        tcp: values.tcp,
        certificate: absolute(values["tls-certificate"]),
        key: absolute(values["tls-key"]),
        origins: values["tcp-origin"],
      }),
      sessionGraceMs: graceOf(values["session-grace"]),
      spareWorkers: sparesOf(values["spare-workers"]),
      teardown: values.teardown,
    };
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError({
      code: "OPTION_INVALID",
      object: "the command line",
      reason: error instanceof Error ? error.message : String(error),
      hint: "See thinpoold --help.",
      cause: error,
    });
  }
}

/** How the daemon lets clients of other machines in: the same flags for `serve` and for its service. */
import { Flags } from "@oclif/core";
import { parsePath } from "./path.ts";

export const tcpFlags = {
  tcp: Flags.string({
    summary:
      "Listen here for clients on other machines, who show a token (token connect); HOST is an IP address. Without it nowhere.",
    helpValue: "HOST:PORT",
  }),
  "tls-certificate": Flags.string({
    summary: "What the daemon proves itself to them with, as PEM. Read anew on SIGHUP.",
    helpValue: "FILE",
    parse: async (path) => parsePath(path),
  }),
  "tls-key": Flags.string({
    summary: "Its key, in a file that is root's alone.",
    helpValue: "FILE",
    parse: async (path) => parsePath(path),
  }),
  "tcp-origin": Flags.string({
    summary:
      "Pages of this origin may connect, as https://ci.example.org; can be given several times. Without it no browser may.",
    helpValue: "ORIGIN",
    multiple: true,
    multipleNonGreedy: true,
  }),
};

/** The flags as the daemon's own parser wants them. */
export function tcpWords(flags: {
  readonly tcp?: string | undefined;
  readonly "tls-certificate"?: string | undefined;
  readonly "tls-key"?: string | undefined;
  readonly "tcp-origin"?: readonly string[] | undefined;
}): {
  readonly tcp: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly origins: readonly string[];
} {
  return {
    tcp: flags.tcp,
    certificate: flags["tls-certificate"],
    key: flags["tls-key"],
    origins: flags["tcp-origin"] ?? [],
  };
}

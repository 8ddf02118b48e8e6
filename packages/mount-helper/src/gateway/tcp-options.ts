/** Where the daemon listens for network clients, and for whom. */
import { isIP } from "node:net";
import { StartError } from "../start-error.ts";
import type { CertificateFiles } from "./certificate.ts";
import { MAX_ORIGINS, MAX_ORIGIN_LENGTH } from "./limits.ts";

export interface TcpAddress {
  /** An IP address in numbers. */
  readonly host: string;
  /** 0: the kernel's choice. */
  readonly port: number;
}

export interface TcpOptions extends CertificateFiles {
  readonly address: TcpAddress;
  /** Of pages that may connect, as browsers name them ("https://ci.example.org"); none: no browser may. */
  readonly origins: readonly string[];
}

const MAX_PORT = 65_535;

function refusal(object: string, reason: string, hint: string): StartError {
  return new StartError({ code: "OPTION_INVALID", object, reason, hint });
}

/** "192.0.2.1:7474" or "[::]:7474". Throws StartError with OPTION_INVALID. */
export function parseTcpAddress(text: string): TcpAddress {
  const [, bracketed, plain, digits = ""] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? "";
  const version = isIP(host);
  const port = Number(digits);
  if (version === (bracketed === undefined ? 4 : 6) && !host.includes("%") && port <= MAX_PORT) {
    return { host, port };
  }
  throw refusal(
    JSON.stringify(text),
    "it is no address with a port",
    "Give an IP address and a port, as 0.0.0.0:7474, 127.0.0.1:7474 or [::]:7474.",
  );
}

export interface TcpFlags {
  readonly tcp: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
  readonly origins: readonly string[];
}

/** The options by their command-line names; undefined: none is given. Throws StartError. */
export function parseTcpFlags({
  tcp,
  certificate,
  key,
  origins,
}: TcpFlags): TcpOptions | undefined {
  const given = { "--tcp": tcp, "--tls-certificate": certificate, "--tls-key": key };
  const missing = Object.entries(given).flatMap(([name, value]) =>
    value === undefined ? [name] : [],
  );
  if (tcp === undefined || certificate === undefined || key === undefined) {
    if (missing.length === Object.keys(given).length && origins.length === 0) return undefined;
    throw refusal(
      missing.join(", "),
      "to serve over TCP it must be given, too",
      "Give --tcp, --tls-certificate and --tls-key, or none of the --tcp and --tls options.",
    );
  }
  if (origins.length > MAX_ORIGINS) {
    throw refusal("--tcp-origin", `more than ${MAX_ORIGINS} are given`, "Give fewer.");
  }
  for (const origin of origins) checkOrigin(origin);
  const address = parseTcpAddress(tcp);
  return { address, certificateFile: certificate, keyFile: key, origins };
}

/** As a browser writes it: scheme, host in small letters, the port where it is not the scheme's own. */
function checkOrigin(origin: string): void {
  const parsed = URL.parse(origin);
  if (origin.length <= MAX_ORIGIN_LENGTH && parsed?.origin === origin) return;
  throw refusal(
    JSON.stringify(origin),
    "it is no origin",
    "Give scheme, host and port as a browser sends them, as https://ci.example.org.",
  );
}

/**
 * The questions that scripts ask most, answered without oclif, which takes several times as long to load
 * as Node itself. Only what is written in full and needs nothing of it: all else goes the ordinary way,
 * where the same views answer, so that no mistake has to be explained here.
 */
import { resolve } from "node:path";
import { DEFAULT_SOCKET } from "./defaults.ts";

/** The names of `views`, which are loaded only where one is meant. */
const QUICK = new Set([
  "device list",
  "device tree",
  "image list",
  "lease list",
  "mounts",
  "pool status",
]);
/** Those that print sizes. */
const WITH_BYTES = new Set(["device list", "device tree", "image list", "pool status"]);

export interface Quick {
  readonly name: string;
  readonly socket: string;
  readonly json: boolean;
  readonly bytes: boolean;
}

/** Undefined for whatever has to be looked at closer. */
export function quickOf(
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Quick | undefined {
  const words = argv.slice(0, argv[0] === "mounts" ? 1 : 2);
  const name = words.join(" ");
  if (!QUICK.has(name)) return undefined;
  // Another machine's daemon is met with TLS, beside which oclif's loading does not count.
  if ((environment["THINPOOL_URL"] ?? "") !== "") return undefined;
  const set = environment["THINPOOL_SOCKET"] ?? "";
  let socket = set === "" ? DEFAULT_SOCKET : set;
  let [json, bytes] = [false, false];
  const flags = argv.slice(words.length);
  for (let flag = flags.shift(); flag !== undefined; flag = flags.shift()) {
    const value = flag === "--socket" ? flags.shift() : undefined;
    if (value !== undefined && value !== "" && !value.startsWith("-")) socket = value;
    else if (flag === "--json") json = true;
    else if (flag === "--bytes" && WITH_BYTES.has(name)) bytes = true;
    else return undefined;
  }
  return { name, socket: resolve(socket), json, bytes };
}

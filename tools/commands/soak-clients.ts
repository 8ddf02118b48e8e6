/** `./run soak clients`: the storm of clients, in a kernel of the lab. */
import { parseArgs } from "node:util";
import { ROOT } from "../lib/command.ts";

/** Pool, clones and two hundred clients are in the guest's memory. */
const MEMORY_MIB = 3072;
/** Beside the minutes that are asked for: warming up, the last round, the end. */
const SPARE_SECONDS = 1800;

/** The lab's command line for these words; undefined where they are wrong. */
export function clientsCommand(args: readonly string[]): readonly string[] | undefined {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      options: {
        clients: { type: "string", default: "50" },
        minutes: { type: "string", default: "1" },
        rounds: { type: "string" },
        seed: { type: "string" },
        kernel: { type: "string", default: "uml" },
      },
    }).values;
  } catch {
    return undefined;
  }
  const { clients, minutes, rounds, seed, kernel } = parsed;
  if (![clients, minutes, rounds ?? "1", seed ?? "1"].every((text) => /^\d{1,9}$/.test(text))) {
    return undefined;
  }
  return [
    `${ROOT}/lab/src/main.ts`,
    "--kernel",
    kernel,
    "--memory",
    String(MEMORY_MIB),
    "--timeout",
    String(Number(minutes) * 60 + SPARE_SECONDS),
    "--",
    "node",
    "--disable-warning=ExperimentalWarning",
    `${ROOT}/tests/soak/clients-soak.ts`,
    "--clients",
    clients,
    "--minutes",
    minutes,
    ...(rounds === undefined ? [] : ["--rounds", rounds]),
    ...(seed === undefined ? [] : ["--seed", seed]),
  ];
}

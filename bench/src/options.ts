import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { ROUND_TRIP } from "./native/round-trip.ts";
import { SECTIONS } from "./sections/index.ts";

export interface BenchOptions {
  readonly quick: boolean;
  readonly json: string | undefined;
  readonly only: readonly string[];
  readonly seed: number;
  /** Multiplies the number of runs. */
  readonly scale: number;
  /** Write the figures into docs/BENCHMARKS.md, and the plots beside it. */
  readonly updateDocs: boolean;
  /** A result.json to report again instead of measuring. */
  readonly from: string | undefined;
  /** Folder of result.json and the plots. */
  readonly results: string;
}

const MIN_SCALE = 0.01;
const MAX_SCALE = 100;
const MAX_SEED = 2 ** 32 - 1;
/** The first one runs on this machine, the others in the lab. */
const NAMES: readonly string[] = [ROUND_TRIP, ...SECTIONS.map(({ name }) => name)];
const RESULTS = new URL("../results", import.meta.url).pathname;

export const USAGE: string = `Usage: ./run bench [options]

  --quick           some 5 minutes: fewer runs, smaller sizes
  --json FILE       write every sample and the ratios
  --only NAME,…     run these sections only, in this order: ${NAMES.join(", ")}
  --scale FACTOR    multiply the number of runs (0.01 to 100)
  --seed N          order of the runs (default: drawn, and printed)
  --from FILE       report a result.json again instead of measuring
  --update-docs     write the figures into docs/BENCHMARKS.md
  --results FOLDER  where result.json and the plots go (default bench/results)
`;

/** The options, or what is wrong with them. */
export function parseOptions(args: readonly string[]): BenchOptions | string {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "string" },
        only: { type: "string" },
        seed: { type: "string" },
        scale: { type: "string", default: "1" },
        results: { type: "string" },
        from: { type: "string" },
        "update-docs": { type: "boolean", default: false },
      },
    }));
  } catch (error) {
    return `bench: ${error instanceof Error ? error.message : String(error)}`;
  }
  const only = values.only === undefined ? [] : values.only.split(",");
  const unknown = only.filter((name) => !NAMES.includes(name));
  if (unknown.length > 0) return `bench: there is no section '${unknown.join("', '")}'`;
  const seed = values.seed === undefined ? Date.now() % 2 ** 32 : Number(values.seed);
  if (!Number.isInteger(seed) || seed < 0 || seed > MAX_SEED) {
    return `bench: --seed is a whole number from 0 to ${MAX_SEED}`;
  }
  const scale = Number(values.scale);
  if (!(scale >= MIN_SCALE && scale <= MAX_SCALE)) {
    return `bench: --scale is a number from ${MIN_SCALE} to ${MAX_SCALE}`;
  }
  return {
    quick: values.quick,
    scale,
    json: values.json === undefined ? undefined : resolve(values.json),
    only,
    seed,
    from: values.from === undefined ? undefined : resolve(values.from),
    updateDocs: values["update-docs"],
    results: values.results === undefined ? RESULTS : resolve(values.results),
  };
}

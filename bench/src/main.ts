/** The benchmark on the host: prepares, boots the lab, runs guest.ts in it, and reports. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { compiler, installMissing, LabError, runLab } from "thinpool-lab";
import { guestMachine, hostMachine } from "./machine.ts";
import { measureRoundTrip, ROUND_TRIP } from "./native/round-trip.ts";
import { parseOptions, USAGE, type BenchOptions } from "./options.ts";
import { PLOTS_FOLDER, updatePage } from "./report/markdown.ts";
import { report, type Report } from "./report/report.ts";
import { reportText } from "./report/text.ts";
import { writePlots } from "./report/plots.ts";
import { Recorder } from "./record.ts";
import type { GuestOptions, GuestResult } from "./result.ts";
import type { Section } from "./section.ts";
import { chosenSections } from "./sections/index.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const PAGE = join(ROOT, "docs/BENCHMARKS.md");
const GUEST = new URL("guest.ts", import.meta.url).pathname;
/** In this order; a machine is the first one's. */
const KERNELS = ["uml", "qemu"] as const satisfies readonly Section["kernel"][];
const MEMORY_MIB = 2048;
const DISK_SIZE = 24 * 2 ** 30;
const SLOW_DISK_SIZE = 8 * 2 ** 30;
/** On a machine of one's own a quick run takes a fifth of this. */
const QUICK_TIMEOUT_SECONDS = 1500;
const TIMEOUT_SECONDS = 5400;

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

/** Ends the guest with this program, so that nothing is left running. */
function onSignal(): AbortSignal {
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.once(signal, () => abort.abort());
  }
  return abort.signal;
}

interface Measured {
  /** False where the run was cut short. */
  readonly ended: boolean;
  readonly guest: GuestResult;
}

async function measure(options: BenchOptions): Promise<Measured> {
  const host = new Recorder(say);
  if (options.only.length === 0 || options.only.includes(ROUND_TRIP)) await measureRoundTrip(host);
  const sections = chosenSections(options);
  const signal = onSignal();
  const measured: Measured[] = [];
  for (const kernel of KERNELS) {
    const there = sections.filter((section) => section.kernel === kernel);
    if (there.length === 0 || measured.some(({ ended }) => !ended)) continue;
    measured.push(await measureInGuest(options, kernel, there, signal));
  }
  const guests = measured.map(({ guest }) => guest);
  return {
    ended: measured.every(({ ended }) => ended),
    guest: {
      machine: guests[0]?.machine ?? guestMachine(),
      seconds: Object.assign({}, ...guests.map(({ seconds }) => seconds)),
      notes: [host, ...guests].flatMap(({ notes }) => notes),
      series: Object.assign({}, ...[host, ...guests].map(({ series }) => series)),
    },
  };
}

async function measureInGuest(
  options: BenchOptions,
  kernel: Section["kernel"],
  sections: readonly Section[],
  signal: AbortSignal,
): Promise<Measured> {
  // The C program is compiled in each run.
  installMissing([...compiler, ...sections.flatMap((section) => section.needs)], say);
  const folder = mkdtempSync(join(tmpdir(), "thinpool-bench-"));
  try {
    const resultFile = join(folder, "result.json");
    const guestOptions: GuestOptions = {
      quick: options.quick,
      seed: options.seed,
      scale: options.scale,
      only: sections.map(({ name }) => name),
      resultFile,
    };
    const result = await runLab(
      {
        kernel,
        command: [
          process.execPath,
          "--disable-warning=ExperimentalWarning",
          GUEST,
          JSON.stringify(guestOptions),
        ],
        memoryMiB: MEMORY_MIB,
        scratch: folder,
        disks: [
          { name: "bench", file: join(folder, "disk.img"), size: DISK_SIZE },
          { name: "slow", file: join(folder, "slow.img"), size: SLOW_DISK_SIZE },
        ],
        timeoutSeconds: options.quick ? QUICK_TIMEOUT_SECONDS : TIMEOUT_SECONDS,
      },
      // Standard output is for the result alone.
      { stdout: process.stderr },
      signal,
    );
    if (result.problem !== undefined) say(result.problem);
    const ended = result.exitCode === 0;
    if (!ended)
      say(`the guest ended with ${result.exitCode}; these figures are of what it finished`);
    if (!existsSync(resultFile)) throw new LabError("the guest finished no section");
    return { ended, guest: JSON.parse(readFileSync(resultFile, "utf8")) as GuestResult };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writeJson(path: string, made: Report): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(made, undefined, 1)}\n`);
}

async function reportOf(
  options: BenchOptions,
): Promise<{ readonly ended: boolean; readonly made: Report }> {
  if (options.from !== undefined) {
    return { ended: true, made: JSON.parse(readFileSync(options.from, "utf8")) as Report };
  }
  const { ended, guest } = await measure(options);
  const { quick, seed } = options;
  return { ended, made: report({ guest, host: hostMachine(), quick, seed }) };
}

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (typeof options === "string") {
    process.stderr.write(`${options}\n\n${USAGE}`);
    return 2;
  }
  const started = performance.now();
  const { ended, made } = await reportOf(options);
  writeJson(join(options.results, "result.json"), made);
  if (options.json !== undefined) writeJson(options.json, made);
  const plots = writePlots(options.results, made);
  if (options.updateDocs) {
    updatePage(PAGE, made, writePlots(join(dirname(PAGE), PLOTS_FOLDER), made));
  }
  process.stdout.write(`${reportText(made)}\n`);
  say(`every sample is in ${options.results}/result.json; plots: ${plots.join(", ") || "none"}`);
  const line = {
    bench: ended ? "ran" : "cut short",
    ratios: made.ratios,
    further: made.further,
    missed: made.targets.filter(({ met }) => met === false).map(({ name }) => name),
    seconds: Math.round((performance.now() - started) / 1000),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
  return ended ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof LabError)) throw error;
  say(`${error.message}${error.hint === undefined ? "" : `; ${error.hint}`}`);
  process.exitCode = 1;
}

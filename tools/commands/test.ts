import { join } from "node:path";
import { parseArgs } from "node:util";
import { allowedCpus, LabError, prepare } from "thinpool-lab";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { GUEST_COMPILE_CACHE, makeGuestCompileCache } from "../lib/guest-compile-cache.ts";
import { preparePostgres } from "../lib/postgres.ts";
import { runProcess } from "../lib/run-process.ts";
import { seconds, textTable } from "../lib/text-table.ts";

interface Step {
  readonly name: string;
  readonly what: string;
  readonly command: readonly string[];
  /** Installs what it needs of the machine; throws where it may not. `say` gets a line before. */
  readonly prepare?: (say: (line: string) => void) => void;
}

const bin = (name: string): string => `node_modules/.bin/${name}`;
const node = [process.execPath, "--disable-warning=ExperimentalWarning", "--conditions=source"];
/** More would want more memory than a small machine has: a guest takes up to 2 GiB. */
const MAX_AT_A_TIME = 4;
/** For a machine that is slow that day; what hangs has limits of its own. */
const KERNEL_TIMEOUT_SECONDS = 2400;
const prepareUml: NonNullable<Step["prepare"]> = (say) => void prepare("uml", say);

/**
 * From the build, not the sources: it loads in half the time, and the step `build` has made it. What was
 * compiled is kept for the next process, in the only folder that a guest may write.
 */
const inLab = (
  kernel: "uml" | "qemu",
  memoryMiB: number,
  tests: string[],
): Pick<Step, "prepare" | "command"> => ({
  prepare: kernel === "uml" ? prepareUml : (say) => void prepare(kernel, say),
  command: [
    process.execPath,
    "lab/src/main.ts",
    "--kernel",
    kernel,
    "--memory",
    String(memoryMiB),
    "--timeout",
    String(KERNEL_TIMEOUT_SECONDS),
    ...GUEST_COMPILE_CACHE,
    "--",
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    "--test",
    "--test-concurrency=1",
    ...tests,
  ],
});

/** One guest: the step has one CPU. */
const soak = (name: string, ...options: string[]): string[] => [
  "tools/run.ts",
  "soak",
  name,
  ...options,
  "--seed",
  "1",
  "--guests",
  "1",
];

const labTest = (names: string): string[] =>
  names.split(" ").map((name) => `tests/lab/${name}.test.ts`);

/** What every other step needs, cheap and often wrong: one after the other, before all else. */
const FIRST: readonly Step[] = [
  { name: "format", what: "oxfmt", command: [bin("oxfmt"), "--check", "."] },
  {
    name: "build",
    what: "tsc -b in every package, by turbo",
    command: [bin("turbo"), "run", "build", "--output-logs=errors-only"],
  },
  {
    name: "types",
    what: "tsc -b over tools, lab, tests and examples",
    command: [bin("tsc"), "-b"],
  },
  {
    name: "lint",
    what: "oxlint with types",
    command: [bin("oxlint"), "--type-aware", "--deny-warnings"],
  },
  {
    name: "layering",
    what: "who may import whom",
    command: [...node, "tools/check-layering.ts"],
  },
];

/** What takes long: each on a CPU of its own, so many at a time as there are CPUs, the longest first. */
const LONG: readonly Step[] = [
  {
    name: "crash",
    what: "10,000 random histories with deaths and faults, on the simulated kernel",
    command: [...node, "tools/run.ts", "soak", "crash", "--histories", "10000", "--seed", "1"],
  },
  {
    name: "unit",
    what: "tests beside the code, by turbo",
    command: [bin("turbo"), "run", "test", "--output-logs=full", "--concurrency=2"],
  },
  {
    name: "e2e",
    what: "programs together, on the simulated kernel",
    command: [
      ...node,
      "--test",
      // Some wait for a time to pass.
      "--test-concurrency=2",
      ...["e2e", "conformance", "crash"].map((folder) => `tests/${folder}/*.test.ts`),
    ],
  },
  {
    name: "power",
    what: "30 power cuts under load on User Mode Linux",
    prepare: prepareUml,
    command: [...node, ...soak("power", "--cuts", "30")],
  },
  {
    name: "kernel-examples",
    what: "the examples as uid 1000, with a real PostgreSQL, on User Mode Linux",
    ...inLab("uml", 2048, labTest("examples")),
    prepare: (say) => {
      prepareUml(say);
      preparePostgres(say);
    },
  },
  {
    name: "flush",
    what: "100 disks as they were at a flush of a recorded load, on User Mode Linux",
    prepare: prepareUml,
    command: [...node, ...soak("flush", "--disks", "100")],
  },
  {
    name: "kernel-qemu",
    what: "a chosen part on Debian's kernel with two CPUs",
    ...inLab("qemu", 2048, labTest("smoke dm-commands engine")),
  },
  {
    name: "kernel-native",
    what: "bindings and simulation against User Mode Linux",
    ...inLab("uml", 1024, labTest("smoke dm-commands loop block mounts conformance")),
  },
  {
    name: "demo",
    what: "the main job",
    prepare: prepareUml,
    command: [...node, "tools/run.ts", "demo"],
  },
  {
    name: "packages",
    what: "packed, installed and used as a consumer would",
    command: [...node, "tools/check-packages.ts"],
  },
  {
    name: "kernel-script",
    what: "the script of the docs on User Mode Linux",
    ...inLab("uml", 2048, labTest("cli-script")),
  },
  {
    name: "kernel-health",
    what: "damaged and sick pools, repair, backups, adoption on User Mode Linux",
    ...inLab("uml", 1024, labTest("engine-health engine-repair engine-adopt")),
  },
  {
    name: "kernel-engine",
    what: "the engine on User Mode Linux; the daemon there is the demo's",
    ...inLab("uml", 2048, labTest("engine engine-counts engine-bad-input")),
  },
];

/** Run only where they are named: they take too long for every run, or are not yet seen to pass. */
const BY_NAME: readonly Step[] = [
  {
    name: "lab",
    what: "the lab's own promises",
    command: [...node, "--test", "--test-concurrency=1", "lab/e2e/uml.test.ts"],
  },
  {
    name: "kernel-cli",
    what: "the command line on User Mode Linux",
    ...inLab("uml", 2048, labTest("cli cli-commands cli-every-command")),
  },
  {
    name: "kernel-verbs",
    what: "verbs and space of the engine on User Mode Linux",
    ...inLab("uml", 2048, labTest("engine-verbs engine-space")),
  },
  {
    name: "kernel-daemon",
    what: "users, here and over TCP, containers, attacks on mounting and the protocol, the daemon killed at every step",
    ...inLab(
      "uml",
      2048,
      labTest("daemon tcp mount-namespace attacks-protocol daemon-kill attacks-mount"),
    ),
  },
  {
    name: "kernel-protocol",
    what: "the API as uid 1000, streams, and a client in Python, on User Mode Linux",
    ...inLab("uml", 1536, labTest("api streams python-client")),
  },
];
const STEPS: readonly Step[] = [...FIRST, ...LONG, ...BY_NAME];

/** Hundreds of processes load the same sources: the types are taken off once, and a run takes a third less. */
const COMPILE_CACHE = { NODE_COMPILE_CACHE: join(ROOT, "node_modules/.cache/node-compile") };

interface StepResult {
  readonly name: string;
  readonly passed: boolean;
  readonly durationMs: number;
}

/** Installs what the steps need, one after the other, and gives those that may not. */
function prepareSteps(steps: readonly Step[]): readonly StepResult[] {
  return steps.flatMap(({ name, prepare: install }) => {
    try {
      install?.((line) => process.stderr.write(`${name}: ${line}\n`));
      return [];
    } catch (error) {
      if (!(error instanceof LabError)) throw error;
      const hint = error.hint === undefined ? "" : `; ${error.hint}`;
      process.stderr.write(`${name}: FAILED: ${error.message}${hint}\n`);
      return [{ name, passed: false, durationMs: 0 }];
    }
  });
}

/** So many at a time as there are CPUs, each on one of its own; one step alone has them all. */
async function runSideBySide(steps: readonly Step[], live: boolean): Promise<StepResult[]> {
  const cpus = allowedCpus().slice(0, MAX_AT_A_TIME);
  const isAlone = steps.length === 1 || cpus.length === 1;
  const waiting = [...steps];
  const results: StepResult[] = [];
  const lanes = await Promise.allSettled(
    cpus.map(async (cpu) => {
      for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
        const pinned = isAlone ? [] : ["taskset", "--cpu-list", String(cpu)];
        results.push(await runStep({ ...step, command: [...pinned, ...step.command] }, live));
      }
    }),
  );
  // A lane that was stopped by a signal: so was every other, and all have ended.
  for (const lane of lanes) if (lane.status === "rejected") throw lane.reason;
  return results;
}

/** Runs a step and says how it went; its output is shown where it failed. */
async function runStep(step: Step, live: boolean): Promise<StepResult> {
  process.stderr.write(`${step.name}: ${step.what} …\n`);
  const [command = "", ...rest] = step.command;
  const { exitCode, output, durationMs } = await runProcess(command, rest, {
    live,
    env: COMPILE_CACHE,
  });
  // turbo says 'successful' of a run that found no package: that is no pass.
  const idle =
    step.command.some((word) => word.endsWith("/turbo")) &&
    !/Tasks: +[1-9]\d* successful/.test(output);
  const passed = exitCode === 0 && !idle;
  if (!passed && !live) process.stderr.write(output);
  const count = (what: string): number =>
    [...output.matchAll(new RegExp(`ℹ ${what} (\\d+)`, "g"))].reduce(
      (sum, match) => sum + Number(match[1]),
      0,
    );
  const tests =
    count("tests") === 0
      ? ""
      : `, ${count("pass")} tests passed, ${count("fail")} failed, ${count("skipped")} skipped`;
  const verdict = passed
    ? "passed"
    : `FAILED (${idle ? "it ran nothing" : `exit code ${exitCode}`})`;
  process.stderr.write(`${step.name}: ${verdict} in ${seconds(durationMs)}${tests}\n`);
  return { name: step.name, passed, durationMs };
}

export const test: RunCommand = {
  summary:
    "all checks: format, lint, layering, types, unit, packages, kernel tests [--only STEP,…] [--list]",
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: {
        only: { type: "string" },
        list: { type: "boolean" },
        verbose: { type: "boolean" },
      },
    });
    if (values.list === true) {
      process.stdout.write(
        `${textTable(
          ["step", "what"],
          STEPS.map((step) => [
            step.name,
            BY_NAME.includes(step) ? `${step.what} (by name only)` : step.what,
          ]),
        )}\n`,
      );
      return 0;
    }
    const only = values.only?.split(",");
    const unknown = only?.filter((name) => !STEPS.some((step) => step.name === name)) ?? [];
    if (unknown.length > 0) {
      process.stderr.write(`run test: no step '${unknown.join("', '")}'; see ./run test --list\n`);
      return 2;
    }
    const live = values.verbose === true;
    const started = performance.now();
    const chosen = (steps: readonly Step[], byDefault: boolean): readonly Step[] =>
      steps.filter(({ name }) => only?.includes(name) ?? byDefault);
    const long = [...chosen(LONG, true), ...chosen(BY_NAME, false)];
    const results: StepResult[] = [];
    for (const step of chosen(FIRST, true)) results.push(await runStep(step, live));
    makeGuestCompileCache();
    const unprepared = prepareSteps(long);
    const ready = long.filter(({ name }) => !unprepared.some((other) => other.name === name));
    results.push(...unprepared, ...(await runSideBySide(ready, live)));
    const failed = results.filter((result) => !result.passed);
    process.stdout.write(
      `${textTable(
        ["step", "result", "time"],
        results.map((result) => [
          result.name,
          result.passed ? "passed" : "FAILED",
          seconds(result.durationMs),
        ]),
      )}\n`,
    );
    process.stdout.write(
      `steps: ${results.length - failed.length} passed, ${failed.length} failed\n`,
    );
    process.stdout.write(
      `${JSON.stringify({ test: failed.length === 0 ? "passed" : "failed", failed: failed.map((result) => result.name), seconds: Math.round((performance.now() - started) / 1000) })}\n`,
    );
    return failed.length === 0 ? 0 : 1;
  },
};

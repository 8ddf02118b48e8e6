import { join } from "node:path";
import { parseArgs } from "node:util";
import { LabError } from "thinpool-lab";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { preparePostgres } from "../lib/postgres.ts";
import { runProcess } from "../lib/run-process.ts";
import { seconds, textTable } from "../lib/text-table.ts";

interface Step {
  readonly name: string;
  readonly what: string;
  readonly command: readonly string[];
  /** Installs what only this step needs; throws where it may not. `say` gets a line before. */
  readonly prepare?: (say: (line: string) => void) => void;
}

const bin = (name: string): string => `node_modules/.bin/${name}`;
const node = [process.execPath, "--disable-warning=ExperimentalWarning", "--conditions=source"];
/** For a machine that is slow that day; what hangs has limits of its own. */
const KERNEL_TIMEOUT_SECONDS = 2400;
/** From the build, not the sources: it loads in half the time, and the step `build` has made it. */
const inLab = (kernel: string, memoryMiB: number, tests: string[]): string[] => [
  process.execPath,
  "lab/src/main.ts",
  "--kernel",
  kernel,
  "--memory",
  String(memoryMiB),
  "--timeout",
  String(KERNEL_TIMEOUT_SECONDS),
  "--",
  process.execPath,
  "--disable-warning=ExperimentalWarning",
  "--test",
  "--test-concurrency=1",
  ...tests,
];

/** One guest: further ones stand in each other's way on two cores. */
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

/** On this machine's own kernel. The steps of a pair run side by side. */
const NATIVE: readonly (readonly Step[])[] = [
  [
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
        ...["e2e", "conformance", "crash"].map((folder) => `tests/${folder}/*.test.ts`),
      ],
    },
  ],
  [
    {
      name: "crash",
      what: "10,000 random histories with deaths and faults, on the simulated kernel",
      command: [...node, "tools/run.ts", "soak", "crash", "--histories", "10000", "--seed", "1"],
    },
    {
      name: "packages",
      what: "packed, installed and used as a consumer would",
      command: [...node, "tools/check-packages.ts"],
    },
  ],
];

/**
 * One after the other, with nothing beside them: what runs on the other CPU makes a guest up to two and a
 * half times slower.
 */
const GUESTS: readonly Step[] = [
  {
    name: "kernel-native",
    what: "bindings and simulation against User Mode Linux",
    command: inLab("uml", 1024, labTest("smoke dm-commands loop block mounts conformance")),
  },
  {
    name: "kernel-engine",
    what: "the engine on User Mode Linux; the daemon there is the demo's",
    command: inLab("uml", 2048, labTest("engine engine-counts engine-bad-input")),
  },
  {
    name: "kernel-health",
    what: "damaged and sick pools, repair, backups, adoption on User Mode Linux",
    command: inLab("uml", 1024, labTest("engine-health engine-repair engine-adopt")),
  },
  {
    name: "kernel-qemu",
    what: "a chosen part on Debian's kernel with two CPUs",
    command: inLab("qemu", 2048, labTest("smoke dm-commands engine")),
  },
  { name: "demo", what: "the main job", command: [...node, "tools/run.ts", "demo"] },
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
    command: inLab("uml", 2048, labTest("cli cli-commands cli-every-command cli-script")),
  },
  {
    name: "kernel-verbs",
    what: "verbs and space of the engine on User Mode Linux",
    command: inLab("uml", 2048, labTest("engine-verbs engine-space")),
  },
  {
    name: "kernel-daemon",
    what: "users, here and over TCP, containers, attacks on mounting and the protocol, the daemon killed at every step",
    command: inLab(
      "uml",
      2048,
      labTest("daemon tcp mount-namespace attacks-protocol daemon-kill attacks-mount"),
    ),
  },
  {
    name: "kernel-protocol",
    what: "the API as uid 1000, streams, and a client in Python, on User Mode Linux",
    command: inLab("uml", 1536, labTest("api streams python-client")),
  },
  {
    name: "kernel-examples",
    what: "the examples as uid 1000, with a real PostgreSQL, on User Mode Linux",
    prepare: preparePostgres,
    command: inLab("uml", 2048, labTest("examples")),
  },
  {
    name: "power",
    what: "30 power cuts under load on User Mode Linux",
    command: [...node, ...soak("power", "--cuts", "30")],
  },
  {
    name: "flush",
    what: "100 disks as they were at a flush of a recorded load, on User Mode Linux",
    command: [...node, ...soak("flush", "--disks", "100")],
  },
];
const alone = (step: Step): readonly Step[] => [step];
const PHASES: readonly (readonly Step[])[] = [
  ...FIRST.map(alone),
  ...NATIVE,
  ...[...GUESTS, ...BY_NAME].map(alone),
];
const STEPS: readonly Step[] = PHASES.flat();

/** Hundreds of processes load the same sources: the types are taken off once, and a run takes a third less. */
const COMPILE_CACHE = { NODE_COMPILE_CACHE: join(ROOT, "node_modules/.cache/node-compile") };

interface StepResult {
  readonly name: string;
  readonly passed: boolean;
  readonly durationMs: number;
}

/** Runs a step and says how it went; its output is shown where it failed. */
async function runStep(step: Step, live: boolean): Promise<StepResult> {
  process.stderr.write(`${step.name}: ${step.what} …\n`);
  try {
    step.prepare?.((line) => process.stderr.write(`${step.name}: ${line}\n`));
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    const hint = error.hint === undefined ? "" : `; ${error.hint}`;
    process.stderr.write(`${step.name}: FAILED: ${error.message}${hint}\n`);
    return { name: step.name, passed: false, durationMs: 0 };
  }
  const [command = "", ...rest] = step.command;
  const { exitCode, output, durationMs } = await runProcess(command, rest, {
    live,
    env: COMPILE_CACHE,
  });
  // turbo says 'successful' of a run that found no package: that is no pass.
  const idle = command.endsWith("/turbo") && !/Tasks: +[1-9]\d* successful/.test(output);
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
    const started = performance.now();
    const results: StepResult[] = [];
    for (const phase of PHASES) {
      const steps = phase.filter((step) =>
        only === undefined ? !BY_NAME.includes(step) : only.includes(step.name),
      );
      results.push(
        ...(await Promise.all(steps.map((step) => runStep(step, values.verbose === true)))),
      );
    }
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

import { parseArgs } from "node:util";
import type { RunCommand } from "../lib/command.ts";
import { runProcess } from "../lib/run-process.ts";
import { seconds, textTable } from "../lib/text-table.ts";

interface Step {
  readonly name: string;
  readonly what: string;
  readonly command: readonly string[];
}

const bin = (name: string): string => `node_modules/.bin/${name}`;
const node = [process.execPath, "--disable-warning=ExperimentalWarning", "--conditions=source"];
const inLab = (
  kernel: string,
  memoryMiB: number,
  timeoutSeconds: number,
  tests: string[],
): string[] => [
  process.execPath,
  "lab/src/main.ts",
  "--kernel",
  kernel,
  "--memory",
  String(memoryMiB),
  "--timeout",
  String(timeoutSeconds),
  "--",
  ...node,
  "--test",
  "--test-concurrency=1",
  ...tests,
];

/** In this order: what is cheap and often wrong first. All are run; one that fails stops none but those that need the build. */
const STEPS: readonly Step[] = [
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
  { name: "layering", what: "who may import whom", command: [...node, "tools/check-layering.ts"] },
  { name: "versions", what: "all packages at one version", command: [bin("changeset"), "status"] },
  {
    name: "unit",
    what: "tests beside the code",
    command: [bin("turbo"), "run", "test", "--output-logs=full", "--concurrency=2"],
  },
  {
    name: "packages",
    what: "packed, installed and used as a consumer would",
    command: [...node, "tools/check-packages.ts"],
  },
  {
    name: "lab",
    what: "the lab's own promises, on the host",
    command: [...node, "--test", "--test-concurrency=1", "lab/e2e/*.test.ts"],
  },
  {
    name: "kernel-uml",
    what: "kernel tests on User Mode Linux",
    command: inLab("uml", 2048, 300, ["tests/lab/*.test.ts"]),
  },
  {
    name: "kernel-qemu",
    what: "a chosen part on Debian's kernel with two CPUs",
    command: inLab("qemu", 2048, 300, [
      "tests/lab/dm-commands.test.ts",
      "tests/lab/conformance.test.ts",
    ]),
  },
  { name: "demo", what: "the main job", command: [...node, "tools/run.ts", "demo"] },
];

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
          STEPS.map((step) => [step.name, step.what]),
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
    const results: {
      readonly name: string;
      readonly passed: boolean;
      readonly durationMs: number;
    }[] = [];
    for (const step of STEPS) {
      if (only !== undefined && !only.includes(step.name)) continue;
      process.stderr.write(`--- ${step.name}: ${step.what}\n`);
      const [command = "", ...rest] = step.command;
      const result = await runProcess(command, rest, { live: values.verbose === true });
      // turbo says 'successful' of a run that found no package: that is no pass.
      const idle = command.endsWith("/turbo") && !/Tasks: +[1-9]\d* successful/.test(result.output);
      const passed = result.exitCode === 0 && !idle;
      if (!passed && values.verbose !== true) process.stderr.write(result.output);
      else if (/^# tests|^ℹ tests/m.test(result.output)) {
        process.stderr.write(
          `${result.output
            .split("\n")
            .filter((line) => /^(#|ℹ) (tests|pass|fail|skipped) /.test(line))
            .join("  ")}\n`,
        );
      }
      process.stderr.write(
        `    ${passed ? "passed" : `FAILED (exit code ${result.exitCode})`} in ${seconds(result.durationMs)}\n`,
      );
      results.push({ name: step.name, passed, durationMs: result.durationMs });
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

/**
 * The examples of the doc comments, each run as it is printed, against a testing daemon. A line
 * `// prints: TEXT` says what the statement before it prints.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { startTestingDaemon } from "@thinpool/sdk/testing";

const ROOT = new URL("../..", import.meta.url).pathname;
const SOURCES = ["packages/sdk/src/**/*.ts", "packages/protocol/src/**/*.ts"];
const EXAMPLE = /@example\n\s*\* ```ts\n([\s\S]*?)\n\s*\* ```/g;
const RUN_FLAGS = ["--conditions=source", "--input-type=module-typescript", "--eval"];
/** Starting Node on a machine under load. */
const TIMEOUT_MS = 120_000;

interface Example {
  readonly where: string;
  readonly code: string;
}

const examples: readonly Example[] = SOURCES.flatMap((pattern) =>
  globSync(pattern, { cwd: ROOT })
    .toSorted()
    .flatMap((file) => {
      const text = readFileSync(`${ROOT}${file}`, "utf8");
      return Array.from(text.matchAll(EXAMPLE), (match) => ({
        where: `${file}:${text.slice(0, match.index).split("\n").length}`,
        code: (match[1] ?? "").replaceAll(/^\s*\* ?/gm, ""),
      }));
    }),
);

test("there are examples", () => {
  assert.ok(examples.length > 5, `${examples.length} examples`);
});

for (const { where, code } of examples) {
  test(`the example at ${where}`, async () => {
    await using daemon = await startTestingDaemon();
    const { stdout } = await promisify(execFile)(process.execPath, [...RUN_FLAGS, code], {
      cwd: `${ROOT}tests`,
      env: { ...process.env, THINPOOL_SOCKET: daemon.socketPath },
      timeout: TIMEOUT_MS,
    });
    const wanted = Array.from(code.matchAll(/^ *\/\/ prints: (.*)$/gm), (match) => match[1] ?? "");
    assert.ok(wanted.length > 0, "it says what it prints");
    assert.deepEqual(stdout.trimEnd().split("\n"), wanted);
  });
}

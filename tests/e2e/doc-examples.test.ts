/**
 * The examples of the doc comments, each run as it is printed, against a testing daemon. A line
 * `// prints: TEXT` says what the statement before it prints.
 */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { test } from "node:test";
import { format } from "node:util";
import { startTestingDaemon } from "@thinpool/sdk/testing";

const ROOT = new URL("../..", import.meta.url).pathname;
const SOURCES = ["packages/sdk/src/**/*.ts", "packages/protocol/src/**/*.ts"];
const EXAMPLE = /@example\n\s*\* ```ts\n([\s\S]*?)\n\s*\* ```/g;

interface Example {
  readonly where: string;
  readonly code: string;
  /** Of a module beside this file, of which only the text is there. */
  readonly url: string;
}

const examples: readonly Example[] = SOURCES.flatMap((pattern) =>
  globSync(pattern, { cwd: ROOT })
    .toSorted()
    .flatMap((file) => {
      const text = readFileSync(`${ROOT}${file}`, "utf8");
      return Array.from(text.matchAll(EXAMPLE), (match) => {
        const where = `${file}:${text.slice(0, match.index).split("\n").length}`;
        const code = (match[1] ?? "").replaceAll(/^\s*\* ?/gm, "");
        return { where, code, url: new URL(`${where}.ts`, import.meta.url).href };
      });
    }),
);

const modules = new Map(examples.map(({ url, code }) => [url, code]));
registerHooks({
  resolve: (specifier, context, next) =>
    modules.has(specifier) ? { url: specifier, shortCircuit: true } : next(specifier, context),
  load: (url, context, next) => {
    const source = modules.get(url);
    if (source === undefined) return next(url, context);
    return { format: "module-typescript", source, shortCircuit: true };
  },
});

test("there are examples", () => {
  assert.ok(examples.length > 5, `${examples.length} examples`);
});

for (const { where, code, url } of examples) {
  test(`the example at ${where}`, async (t) => {
    await using daemon = await startTestingDaemon();
    process.env["THINPOOL_SOCKET"] = daemon.socketPath;
    const printed: string[] = [];
    t.mock.method(console, "log", (...values: unknown[]) => printed.push(format(...values)));
    await import(url);
    const wanted = Array.from(code.matchAll(/^ *\/\/ prints: (.*)$/gm), (match) => match[1] ?? "");
    assert.ok(wanted.length > 0, "it says what it prints");
    assert.deepEqual(printed.join("\n").split("\n"), wanted);
  });
}

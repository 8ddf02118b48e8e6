/** The rule bites: each arrow that is not allowed is drawn once in a copy of the real packages. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { checkLayering, LAYERS } from "./check-layering.ts";
import type { KnownSources, Rule, Violation } from "./check-layering.ts";

const repository = join(import.meta.dirname, "..");
const root = mkdtempSync(join(tmpdir(), "layering-"));
after(() => rmSync(root, { recursive: true, force: true }));

const names = Object.keys(LAYERS);
for (const name of names) {
  for (const part of ["package.json", "tsconfig.json", "src"]) {
    cpSync(join(repository, "packages", name, part), join(root, "packages", name, part), {
      recursive: true,
    });
  }
}

/** Every test reads all sources anew; what it left as they were is not parsed again. */
const known: KnownSources = new Map();

/** What is wrong in the packages as they are is the first test's matter, not every test's. */
const asTheyAre = new Set(checkLayering(root, known).map((violation) => JSON.stringify(violation)));
const newViolations = (): readonly Violation[] =>
  checkLayering(root, known).filter((violation) => !asTheyAre.has(JSON.stringify(violation)));

/** Writes a file for the time of one check, and gives back the rules broken in it. */
function rulesBroken(file: string, text: string): readonly string[] {
  const path = join(root, "packages", file);
  writeFileSync(path, text);
  try {
    return newViolations().map(({ file: at, line, rule }) => {
      assert.equal(join(root, at), path);
      return `${line} ${rule}`;
    });
  } finally {
    rmSync(path);
  }
}

/** The same for a file that is there already, changed as JSON. */
function rulesBrokenByEdit(file: string, edit: (text: string) => string): readonly Rule[] {
  const path = join(root, "packages", file);
  const text = readFileSync(path, "utf8");
  const changed = edit(text);
  assert.notEqual(changed, text, "the edit must change the file");
  writeFileSync(path, changed);
  try {
    return newViolations().map(({ rule }) => rule);
  } finally {
    writeFileSync(path, text);
  }
}

test("the packages as they are keep the layering", () => {
  assert.deepEqual(checkLayering(root), []);
});

for (const [name, allowed] of Object.entries(LAYERS)) {
  const others = names.filter((other) => other !== name);

  for (const other of others.filter((candidate) => !allowed.imports.includes(candidate))) {
    test(`${name} may not import ${other}`, () => {
      const rules = rulesBroken(`${name}/src/broken.ts`, `\nimport "@thinpool/${other}";\n`);
      assert.deepEqual(rules, ["2 not-allowed"]);
    });

    test(`${name} may not declare ${other}`, () => {
      const rules = rulesBrokenByEdit(`${name}/package.json`, (text) => {
        const manifest = JSON.parse(text) as { dependencies?: Record<string, string> };
        manifest.dependencies = { ...manifest.dependencies, [`@thinpool/${other}`]: "workspace:*" };
        return JSON.stringify(manifest, undefined, 2);
      });
      assert.ok(rules.includes("declared-not-allowed"), String(rules));
    });
  }

  for (const other of allowed.tests) {
    test(`a test of ${name} may import ${other}, its sources may not`, () => {
      const text = `import "@thinpool/${other}";\n`;
      const manifest = readFileSync(join(root, "packages", name, "package.json"), "utf8");
      const expected = manifest.includes(`"@thinpool/${other}"`) ? [] : ["1 not-declared"];
      assert.deepEqual(rulesBroken(`${name}/src/fine.test.ts`, text), expected);
      assert.deepEqual(rulesBroken(`${name}/src/broken.ts`, text), ["1 not-allowed"]);
    });
  }
}

const FORMS: Readonly<Record<string, readonly [text: string, rule: Rule]>> = {
  "import type": [`import type { Device } from "@thinpool/thinpool";`, "not-allowed"],
  "export from": [`export * from "@thinpool/thinpool";`, "not-allowed"],
  "export a name from": [`export { deviceName } from "@thinpool/thinpool";`, "not-allowed"],
  "import()": [`export const late = await import("@thinpool/thinpool");`, "not-allowed"],
  "import() of a type": [`export type D = import("@thinpool/thinpool").Device;`, "not-allowed"],
  require: [`export const late = require("@thinpool/thinpool");`, "not-allowed"],
  "import.meta.resolve": [`import.meta.resolve("@thinpool/thinpool");`, "not-allowed"],
  "a relative path": [`import "../../protocol/src/index.ts";`, "relative-escape"],
  "a relative URL": [
    `export const url = new URL("../../thinpool/src/pool.ts", import.meta.url);`,
    "relative-escape",
  ],
  "a deep path": [`import "@thinpool/protocol/dist/methods.js";`, "deep-import"],
  "a computed name": [`export const late = await import("@thinpool/" + "x");`, "computed-import"],
  "a package that is not declared": [`import "left-pad";`, "not-declared"],
  "a builtin without its scheme": [`import "fs";`, "not-declared"],
  "a package of devDependencies": [`import "@types/ws";`, "not-declared"],
};

for (const [form, [text, rule]] of Object.entries(FORMS)) {
  test(`in the form of ${form}: ${rule}`, () => {
    assert.deepEqual(rulesBroken("sdk/src/broken.ts", `${text}\n`), [`1 ${rule}`]);
  });
}

test("a name inside a comment or a string is no import", () => {
  const text = `// import "@thinpool/thinpool";\nexport const s = 'import "@thinpool/thinpool"';\n`;
  assert.deepEqual(rulesBroken("sdk/src/fine.ts", text), []);
});

test("a missing and a superfluous reference of tsconfig.json are found", () => {
  const file = "sdk/tsconfig.json";
  const without = rulesBrokenByEdit(file, (text) => text.replace(/\{ "path".*\}/, ""));
  assert.deepEqual(without, ["reference-mismatch"]);
  const more = rulesBrokenByEdit(file, (text) =>
    text.replace(/"references": \[/, `"references": [{ "path": "../thinpool" },`),
  );
  assert.deepEqual(more, ["reference-mismatch"]);
});

test("a package without a layer is found", () => {
  const folder = join(root, "packages", "stray");
  cpSync(join(root, "packages", "sdk"), folder, { recursive: true });
  assert.deepEqual(
    newViolations().map(({ rule }) => rule),
    ["unknown-package"],
  );
  rmSync(folder, { recursive: true });
});

test("the command prints file, line and rule, and exits 1; without a violation 0 and nothing", () => {
  const one = mkdtempSync(join(tmpdir(), "layering-"));
  after(() => rmSync(one, { recursive: true, force: true }));
  const folder = join(one, "packages", "protocol");
  cpSync(join(root, "packages", "protocol"), folder, { recursive: true });
  const run = () => {
    const command = [join(import.meta.dirname, "check-layering.ts"), "--root", one];
    const { status, stdout } = spawnSync(process.execPath, command, { encoding: "utf8" });
    return { status, stdout };
  };
  assert.deepEqual(run(), { status: 0, stdout: "" });
  writeFileSync(join(folder, "src", "broken.ts"), `export * from "@thinpool/dm-native";\n`);
  const { status, stdout } = run();
  assert.equal(status, 1);
  assert.match(stdout, /^packages\/protocol\/src\/broken\.ts:1: not-allowed: protocol may not/);
});

test("the testing entry alone may import what users' tests need, and nothing may import it", () => {
  const daemon = 'import "@thinpool/mount-helper";\n';
  assert.deepEqual(rulesBroken("sdk/src/testing/more.ts", daemon), []);
  assert.deepEqual(rulesBroken("sdk/src/broken.ts", daemon), ["1 not-allowed"]);
  assert.deepEqual(rulesBroken("sdk/src/broken.test.ts", daemon), ["1 not-allowed"]);
  const testing = 'import "./testing/index.ts";\n';
  assert.deepEqual(rulesBroken("sdk/src/broken.ts", testing), ["1 testing-imported"]);
  const cli = 'import "@thinpool/cli";\n';
  assert.deepEqual(rulesBroken("sdk/src/testing/broken.ts", cli), ["1 not-allowed"]);
});

test("what the testing entry needs must be an optional peer", () => {
  const rules = rulesBrokenByEdit("sdk/package.json", (text) => {
    const manifest = JSON.parse(text) as { peerDependenciesMeta: Record<string, unknown> };
    delete manifest.peerDependenciesMeta["@thinpool/dm-sim"];
    return JSON.stringify(manifest, undefined, 2);
  });
  assert.ok(rules.includes("peer-not-optional"), String(rules));
});

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { ROOT } from "./lib/command.ts";

const read = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(`${ROOT}/${path}`, "utf8")) as Record<string, unknown>;

test("all packages carry one version, and changesets keeps it so", () => {
  const packages = readdirSync(`${ROOT}/packages`).map((name) =>
    read(`packages/${name}/package.json`),
  );
  assert.ok(packages.length >= 7);
  assert.equal(new Set(packages.map((manifest) => manifest["version"])).size, 1);
  assert.deepEqual(read(".changeset/config.json")["fixed"], [["@thinpool/*"]]);
  for (const manifest of packages) assert.match(String(manifest["name"]), /^@thinpool\//);
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MUTANTS } from "./mutants.ts";

test("each mutant's text is once in its file: none has been left behind by a change of the source", () => {
  const behind = MUTANTS.filter(({ file, search }) => {
    const source = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
    return source.split(search).length !== 2;
  });
  assert.deepEqual(
    behind.map(({ file, what }) => `${file}: ${what}`),
    [],
  );
});

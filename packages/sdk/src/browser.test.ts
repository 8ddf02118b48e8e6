import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** What a page pays for the whole client, minified and gzipped. */
const MAX_BUNDLE_BYTES = 25_000;

test("the browser's bundle needs nothing of Node, and stays small", async (t) => {
  // `platform: "browser"`: an import of a Node built-in fails the build.
  const { outputFiles, warnings } = await build({
    entryPoints: [new URL("./browser.ts", import.meta.url).pathname],
    bundle: true,
    platform: "browser",
    conditions: ["source"],
    format: "esm",
    target: "es2024",
    minify: true,
    write: false,
    logLevel: "silent",
  });
  assert.deepEqual(warnings, []);
  const code = outputFiles[0]?.contents ?? new Uint8Array();
  assert.ok(code.length > 0);
  const { length } = gzipSync(code, { level: 9 });
  assert.ok(length < MAX_BUNDLE_BYTES, `${length} bytes`);
  t.diagnostic(`${length} bytes minified and gzipped`);
});

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

/** Prints which of the descriptors 200 and 3 a child of its own has inherited. */
const PARENT = `
  const { keepDescriptorsFromChildren } = await import(process.argv[1]);
  const { spawnSync } = await import("node:child_process");
  const list = () => spawnSync("/bin/ls", ["/proc/self/fd"], { encoding: "utf8" }).stdout;
  const before = list().split("\\n").includes("200");
  keepDescriptorsFromChildren(3);
  console.log(before, list().split("\\n").includes("200"));
`;

test("a descriptor that this process inherited is not passed on", () => {
  const module = new URL("./close-range.ts", import.meta.url).href;
  const node = [process.execPath, "--conditions=source", "--input-type=module", "-e"];
  const args = ["-c", 'exec 200</dev/null; exec "$@"', "sh", ...node, PARENT, module];
  const { stdout, stderr } = spawnSync("/bin/bash", args, { encoding: "utf8" });
  assert.equal(stdout, "true false\n", stderr);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseArguments } from "./arguments.ts";

test("the command line, its defaults and its mistakes", () => {
  assert.deepEqual(parseArguments(["--folder", "/p"]), {
    folder: "/p",
    socketPath: "/run/thinpool/thinpool.sock",
    socketGroup: undefined,
    policyFile: undefined,
    teardown: false,
  });
  assert.equal(parseArguments(["--help"]), "help");
  for (const bad of [[], ["--folder"], ["--folder", "/p", "--what"], ["--folder", "/p", "more"]]) {
    assert.throws(() => parseArguments(bad), { code: "OPTION_INVALID" });
  }
});

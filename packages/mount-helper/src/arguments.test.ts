import assert from "node:assert/strict";
import { resolve } from "node:path";
import { test } from "node:test";
import { parseArguments } from "./arguments.ts";

test("the command line, its defaults and its mistakes", () => {
  assert.deepEqual(parseArguments(["--folder", "/p"]), {
    folder: "/p",
    socketPath: "/run/thinpool/thinpool.sock",
    socketGroup: undefined,
    policyFile: undefined,
    metrics: undefined,
    tcp: undefined,
    sessionGraceMs: undefined,
    spareWorkers: undefined,
    teardown: false,
  });
  const metricsOf = (text: string): unknown => {
    const parsed = parseArguments(["--folder", "/p", "--metrics", text]);
    return typeof parsed === "string" ? parsed : parsed.metrics;
  };
  assert.deepEqual(metricsOf("/run/m.sock"), { path: "/run/m.sock" });
  assert.deepEqual(metricsOf("9464"), { port: 9464 });
  for (const bad of ["m.sock", "0", "70000", "0.0.0.0:80"]) {
    assert.throws(() => metricsOf(bad), { code: "OPTION_INVALID" });
  }
  for (const bad of ["0", "1.5", "99999", "ever"]) {
    assert.throws(() => parseArguments(["--folder", "/p", "--session-grace", bad]), {
      code: "OPTION_INVALID",
    });
  }
  for (const bad of ["9", "-1", "one", ""]) {
    assert.throws(() => parseArguments(["--folder", "/p", `--spare-workers=${bad}`]), {
      code: "OPTION_INVALID",
    });
  }
  const tls = ["--tls-certificate", "c.pem", "--tls-key", "/c.key"];
  const over = parseArguments(["--folder", "/p", "--tcp", "0.0.0.0:7474", ...tls]);
  assert.ok(typeof over !== "string" && over.tcp?.certificateFile === resolve("c.pem"));
  assert.throws(() => parseArguments(["--folder", "/p", ...tls]), { object: "--tcp" });
  assert.equal(parseArguments(["--help"]), "help");
  for (const bad of [[], ["--folder"], ["--folder", "/p", "--what"], ["--folder", "/p", "more"]]) {
    assert.throws(() => parseArguments(bad), { code: "OPTION_INVALID" });
  }
});

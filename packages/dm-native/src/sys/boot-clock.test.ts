import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { bootId, bootTimeMs } from "./boot-clock.ts";

test("the time since boot is the one of /proc/uptime, and runs", () => {
  const before = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
  const now = bootTimeMs();
  const after = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
  // /proc/uptime cuts to hundredths of a second.
  assert.ok(now >= before && now <= after + 10, `${before} ${now} ${after}`);
  assert.ok(bootTimeMs() > now);
});

test("the boot's name is a uuid, and the same for all who ask", () => {
  assert.match(bootId(), /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.equal(bootId(), bootId());
});

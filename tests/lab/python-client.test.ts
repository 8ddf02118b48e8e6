/** It is a protocol, not a private pair: a client written from docs/PROTOCOL.md alone does the main job. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { linuxKernel } from "@thinpool/thinpool";
import { USERS, daemonProcess } from "./daemon-process.ts";

const CLIENT = new URL("./python-client.py", import.meta.url).pathname;
const TIMEOUT_MS = 120_000;
const UID = 1000;

test("Python's stock WebSocket library runs the main job as uid 1000", async () => {
  await using kernel = linuxKernel();
  await using daemon = await daemonProcess(kernel);
  const { stdout } = await promisify(execFile)(
    "/usr/bin/python3",
    [CLIENT, daemon.socketPath, "base"],
    { uid: UID, gid: USERS.gid, timeout: TIMEOUT_MS, env: { LANG: "C.UTF-8" } },
  ).catch((error: { readonly stderr?: string }) => assert.fail(`${error.stderr}${daemon.log()}`));
  const { features, ...seen } = JSON.parse(stdout) as Record<string, unknown>;
  assert.ok(Array.isArray(features) && features.includes("idempotency-keys"));
  assert.deepEqual(seen, {
    owner: true,
    sizeBytes: 64 << 20,
    sameAnswer: true,
    count: 2,
    keyReused: "KEY_REUSED",
    busy: "BUSY",
    unknownMethod: "METHOD_NOT_FOUND",
    badName: "NAME_INVALID",
    forbidden: "FORBIDDEN",
    graceMs: 30_000,
    notMine: "SESSION_GONE",
    afterCut: 1,
    streams: true,
    text: "written by Python",
    left: [],
  });
});

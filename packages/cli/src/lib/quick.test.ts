import assert from "node:assert/strict";
import { test } from "node:test";
import { quickOf } from "./quick.ts";
import { views } from "./views.ts";

const quick = (line: string, environment = {}) => quickOf(line.split(" "), environment);

test("what is written in full is answered quickly", () => {
  const socket = "/run/thinpool/thinpool.sock";
  assert.deepEqual(quick("device list"), {
    name: "device list",
    socket,
    json: false,
    bytes: false,
  });
  assert.deepEqual(quick("pool status --bytes --json --socket /s"), {
    name: "pool status",
    socket: "/s",
    json: true,
    bytes: true,
  });
  assert.equal(quick("mounts", { THINPOOL_SOCKET: "/t" })?.socket, "/t");
  assert.equal(quick("mounts", { THINPOOL_SOCKET: "" })?.socket, socket);
  for (const name of Object.keys(views)) assert.equal(quick(name)?.name, name);
});

test("what is to be explained, or works otherwise, is not", () => {
  for (const line of [
    "device",
    "device show base",
    "device list surplus",
    "device list --frobnicate",
    "device list --help",
    "device list --direct",
    "device list --verbose",
    "device list --socket",
    "device list --socket --json",
    "device list --socket=/s",
    "mounts --bytes",
    "--json device list",
    "device list --url wss://host:1",
  ]) {
    assert.equal(quick(line), undefined, line);
  }
  assert.equal(quick("mounts", { THINPOOL_URL: "wss://host:1" }), undefined);
});

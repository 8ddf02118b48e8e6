import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { assertUnprivileged, privilegeIn } from "./privileges.ts";

/** Of a worker on Linux 6.1, shortened. */
const STATUS = [
  "Name:\tnode",
  "TracerPid:\t0",
  "Uid:\t1000\t1000\t1000\t1000",
  "Gid:\t100\t100\t100\t100",
  "FDSize:\t64",
  "Groups:\t ",
  "CapInh:\t00000000000000c4",
  "CapPrm:\t0000000000000000",
  "CapEff:\t0000000000000000",
  "CapBnd:\t0000000000000000",
  "CapAmb:\t0000000000000000",
  "NoNewPrivs:\t1",
  "Seccomp:\t0",
  "",
].join("\n");
const IDENTITY = { uid: 1000, gid: 100 };

test("a status without privileges passes; each single privilege is found and named", () => {
  assert.equal(privilegeIn(STATUS, IDENTITY), undefined);
  const changes: readonly (readonly [string, string, string])[] = [
    ["Uid:\t1000\t1000\t1000\t1000", "Uid:\t1000\t1000\t0\t1000", "Uid"],
    ["Uid:\t1000\t1000\t1000\t1000", "Uid:\t1001\t1001\t1001\t1001", "Uid"],
    ["Gid:\t100\t100\t100\t100", "Gid:\t0\t100\t100\t100", "Gid"],
    ["Groups:\t ", "Groups:\t6 27 ", "Groups"],
    ["CapPrm:\t0000000000000000", "CapPrm:\t0000000000000080", "CapPrm"],
    ["CapEff:\t0000000000000000", "CapEff:\t0000000000200000", "CapEff"],
    ["CapBnd:\t0000000000000000", "CapBnd:\t000001ffffffffff", "CapBnd"],
    ["CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", "CapAmb"],
    ["NoNewPrivs:\t1", "NoNewPrivs:\t0", "NoNewPrivs"],
    ["NoNewPrivs:\t1\n", "", "NoNewPrivs"],
  ];
  for (const [from, to, name] of changes) {
    assert.match(privilegeIn(STATUS.replace(from, to), IDENTITY) ?? "", new RegExp(`^${name} is`));
  }
});

test("this very process is no worker: each of its threads is looked at", () => {
  assert.match(readFileSync("/proc/self/status", "utf8"), /^NoNewPrivs:\t0$/m);
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  assert.throws(() => assertUnprivileged("self", self), /thread \d+ of the worker/);
});

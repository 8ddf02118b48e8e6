import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { NativeError } from "@thinpool/dm-native";
import { PoolError } from "./errors.ts";
import { poolErrorFrom } from "./errors-from-native.ts";
import { LedgerCommitError } from "./store/commit-error.ts";
import { degradedError } from "./undo.ts";

const CONTEXT = { operation: "snapshot", object: "clone" } as const;

function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  return assert.fail("nothing was thrown");
}

test("a kernel's error keeps its errno, reason and hint, and becomes the cause", () => {
  const native = new NativeError({
    code: "NATIVE_BUSY",
    operation: "DM_DEV_REMOVE",
    object: "x",
    errno: 16,
    errnoName: "EBUSY",
    reason: "it is open",
    hint: "The mount at /mnt holds it.",
  });
  const error = poolErrorFrom(native, CONTEXT);
  assert.equal(error.code, "DEVICE_BUSY");
  assert.deepEqual([error.errno, error.errnoName, error.cause], [16, "EBUSY", native]);
  assert.match(error.message, /snapshot of clone: .*it is open.*The mount at \/mnt holds it/);
  const locked = poolErrorFrom(native, { ...CONTEXT, codes: { NATIVE_BUSY: "POOL_LOCKED" } });
  assert.equal(locked.code, "POOL_LOCKED");
});

test("a host that is read-only or over its quota is told as such, whoever met it", () => {
  for (const [errnoName, code] of [
    ["EROFS", "POOL_PERMISSION"],
    ["EDQUOT", "POOL_NO_SPACE"],
    ["EIO", "POOL_KERNEL"],
  ] as const) {
    const native = new NativeError({
      code: "NATIVE_IO",
      operation: "open",
      object: "/pool/pool.lock",
      errno: constants.errno[errnoName],
      errnoName,
      reason: "it failed",
      hint: "See dmesg.",
    });
    const node = Object.assign(new Error("it failed"), { code: errnoName });
    assert.equal(poolErrorFrom(native, CONTEXT).code, code);
    assert.equal(poolErrorFrom(node, CONTEXT).code, code);
    const isKnown = code !== "POOL_KERNEL";
    assert.equal(poolErrorFrom(native, CONTEXT).hint === native.hint, !isKnown);
  }
});

test("a PoolError stays itself; node's, SQLite's and unknown errors get a code and a hint", () => {
  const own = new PoolError({ code: "POOL_CLOSED", ...CONTEXT, reason: "r", hint: "h" });
  assert.equal(poolErrorFrom(own, CONTEXT), own);
  const node = poolErrorFrom(
    thrownBy(() => readFileSync("/none/such")),
    CONTEXT,
  );
  assert.deepEqual([node.code, node.errnoName, node.errno], ["POOL_NOT_FOUND", "ENOENT", 2]);
  const full = Object.assign(new Error("database or disk is full"), { errcode: 13 });
  assert.equal(poolErrorFrom(full, CONTEXT).code, "POOL_NO_SPACE");
  const commit = new LedgerCommitError("/pool/pool.sqlite", full);
  assert.equal(poolErrorFrom(commit, CONTEXT).code, "POOL_NO_SPACE");
  const degraded = degradedError("snapshot", "clone", commit);
  assert.equal(degraded.code, "POOL_DEGRADED");
  assert.match(degraded.hint, /^Free some space .* Close the pool and open it again/);
  const sql = thrownBy(() => new DatabaseSync(":memory:").exec("nonsense"));
  assert.equal(poolErrorFrom(sql, CONTEXT).code, "POOL_KERNEL");
  assert.equal(poolErrorFrom("what", CONTEXT).code, "POOL_KERNEL");
});

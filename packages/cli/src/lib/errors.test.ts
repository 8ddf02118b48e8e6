import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { test } from "node:test";
import { NativeError } from "@thinpool/dm-native";
import { errorCodeNames, errorCodes } from "@thinpool/protocol";
import { ThinpoolError } from "@thinpool/sdk";
import { PoolError } from "@thinpool/thinpool";
import { failureOf, renderFailure, UsageError } from "./errors.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";

// The engine's and the kernel's codes are complete by type: exit-codes.ts does not compile without.
test("each code of the protocol has an exit code that says more than nothing", () => {
  for (const code of errorCodeNames) {
    const exitCode = exitCodeOf(code);
    assert.ok(exitCode > 0 && exitCode <= 8, code);
  }
});

test("the codes with an exit code of their own lead to it", () => {
  const expected = {
    USAGE: 2,
    NAME_INVALID: 2,
    POOL_NAME_INVALID: 2,
    NOT_FOUND: 3,
    DEVICE_NOT_FOUND: 3,
    NOT_MOUNTED: 3,
    FORBIDDEN: 4,
    POOL_PERMISSION: 4,
    POOL_DEVICE_NOT_EMPTY: 4,
    BUSY: 5,
    POOL_LOCKED: 5,
    NO_SPACE: 6,
    POOL_NO_SPACE: 6,
    DAEMON_UNREACHABLE: 7,
    CONNECTION_LOST: 7,
    NEEDS_REPAIR: 8,
    POOL_NEEDS_REPAIR: 8,
  };
  for (const [code, exitCode] of Object.entries(expected)) assert.equal(exitCodeOf(code), exitCode);
});

test("a code that a newer daemon sends is a failure", () => {
  assert.equal(exitCodeOf("SOMETHING_NEW"), exitCodes.failed);
  assert.equal(exitCodeOf("constructor"), exitCodes.failed);
});

const fields = {
  operation: "remove",
  object: "device base",
  reason: "it is mounted at /run/x",
  hint: "Unmount it first.",
};

test("an error of the engine, the kernel and the daemon read alike", () => {
  const message = "remove of device base: it is mounted at /run/x (EBUSY)";
  const pool = new PoolError({ ...fields, code: "DEVICE_BUSY", errnoName: "EBUSY" });
  const kernel = new NativeError({ ...fields, code: "NATIVE_BUSY", errnoName: "EBUSY" });
  const daemon = new ThinpoolError({
    code: "BUSY",
    message: `${message}. ${fields.hint}`,
    operation: fields.operation,
    object: fields.object,
    hint: fields.hint,
    retryable: true,
  });
  for (const error of [pool, kernel, daemon]) {
    const failure = failureOf(error);
    assert.equal(failure.message, message);
    assert.equal(failure.hint, fields.hint);
    assert.equal(failure.exitCode, exitCodes.busy);
    assert.equal(failure.object, fields.object);
  }
});

test("every code's own hint of the protocol is cut from the message it stands in", () => {
  for (const code of errorCodeNames) {
    const { hint } = errorCodes[code];
    const error = new ThinpoolError({
      code,
      message: `get of x: no. ${hint}`,
      operation: "get",
      object: "x",
      hint,
      retryable: false,
    });
    assert.equal(failureOf(error).message, "get of x: no");
  }
});

test("the message is one line and can't steer the terminal", () => {
  const failure = failureOf(
    new PoolError({ ...fields, code: "POOL_KERNEL", reason: "a\nb\u001b[31mc\u0007\u009bd" }),
  );
  assert.equal(failure.message, "remove of device base: a b [31mc d");
});

test("what nobody foresaw is INTERNAL, with a message and without a stack", () => {
  for (const thrown of [new TypeError("x is not a function"), "text", undefined]) {
    const failure = failureOf(thrown);
    assert.equal(failure.code, "INTERNAL");
    assert.equal(failure.exitCode, exitCodes.failed);
    assert.match(failure.hint, /--verbose/);
  }
  const withCode = Object.assign(new Error("EACCES: permission denied"), { code: "EACCES" });
  assert.equal(failureOf(withCode).code, "INTERNAL");
});

test("two lines on stderr, plain where it is no terminal", () => {
  const failure = failureOf(new UsageError({ reason: "it is wrong", hint: "Do it right." }));
  const stream = new PassThrough() as unknown as NodeJS.WriteStream;
  assert.equal(renderFailure(failure, stream), "Error: it is wrong.\nHint: Do it right.\n");
});

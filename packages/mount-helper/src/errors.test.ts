import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { errorCodes } from "@thinpool/protocol";
import { NativeError, PoolError } from "@thinpool/thinpool";
import {
  BY_NATIVE_CODE,
  BY_POOL_CODE,
  RequestError,
  describeError,
  toErrorObject,
} from "./errors.ts";

const CALL = { operation: "device.remove", object: "one" };
const INIT = { operation: "x", object: "/secret/path", reason: "it is so", hint: "Do this." };

test("every code of the layers below has one of the protocol", () => {
  for (const code of Object.values({ ...BY_POOL_CODE, ...BY_NATIVE_CODE })) {
    assert.ok(code in errorCodes, code);
  }
});

test("an engine's error keeps its reason, hint and errno, under the call's own name", () => {
  const error = new PoolError({ ...INIT, code: "DEVICE_BUSY", errno: 16, errnoName: "EBUSY" });
  const wire = toErrorObject(error, CALL);
  assert.equal(wire.code, errorCodes.BUSY.number);
  assert.deepEqual(wire.data, {
    ...CALL,
    code: "BUSY",
    hint: "Do this.",
    retryable: true,
    errno: 16,
    errnoName: "EBUSY",
  });
  assert.equal(wire.message, "device.remove of one: it is so (EBUSY). Do this.");
});

test("a name that is taken is the new device's, not that of the device it was to be made of", () => {
  const error = new PoolError({ ...INIT, object: "new", code: "DEVICE_EXISTS" });
  const wire = toErrorObject(error, { operation: "device.clone", object: "origin" });
  assert.deepEqual([wire.data.code, wire.data.object], ["EXISTS", "new"]);
});

test("INTERNAL says nothing of the inside: no path, no stack, no message", () => {
  const errors = [
    new Error("/secret/path"),
    new NativeError({ ...INIT, code: "NATIVE_IO", errno: 5, errnoName: "EIO" }),
    "/secret/path",
    undefined,
  ];
  for (const error of errors) {
    const wire = toErrorObject(error, CALL);
    assert.equal(wire.data.code, "INTERNAL");
    assert.doesNotMatch(JSON.stringify(wire), /secret|it is so|\.ts/);
  }
});

test("a store that finds no room is NO_SPACE, and no path is told", () => {
  using database = new DatabaseSync(":memory:");
  database.exec("PRAGMA max_page_count = 2; CREATE TABLE t (x BLOB)");
  try {
    database.exec("INSERT INTO t VALUES (zeroblob(100000))");
    assert.fail("it found room");
  } catch (error) {
    const { data } = toErrorObject(error, CALL);
    assert.deepEqual([data.code, data.operation], ["NO_SPACE", CALL.operation]);
  }
});

test("a refusal of the daemon's own goes out as it is", () => {
  const description = { ...CALL, code: "FORBIDDEN", reason: "no" } as const;
  assert.deepEqual(describeError(new RequestError(description), CALL), description);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  MAX_REQUEST_BYTES,
  encodeFailure,
  encodeRequest,
  encodeSuccess,
  errorCodes,
  errorCodeNames,
  errorObjectOf,
  isErrorCode,
  methodNames,
  parseRequest,
  parseResponse,
  parseResult,
} from "./index.ts";

const UUID = "0b6f8a52-9f4e-4c56-8a37-3f1f7a3f9f10";

function refused(text: string): { code: string; id: unknown; reason: string } {
  const parsed = parseRequest(text);
  assert.equal(parsed.ok, false);
  return parsed.ok ? assert.fail() : parsed;
}

test("a request comes back as it was encoded", () => {
  const text = encodeRequest(7, "device.clone", { origin: "base", name: "one" });
  assert.deepEqual(parseRequest(text), {
    ok: true,
    value: { id: 7, method: "device.clone", params: { origin: "base", name: "one" } },
  });
});

test("unknown fields are ignored, in the envelope and in params", () => {
  const parsed = parseRequest(
    JSON.stringify({
      jsonrpc: "2.0",
      id: "a",
      method: "device.get",
      params: { name: "one", later: true },
      trace: "x",
    }),
  );
  assert.deepEqual(parsed, {
    ok: true,
    value: { id: "a", method: "device.get", params: { name: "one" } },
  });
});

test("an unknown method is a clean refusal with the request's id", () => {
  for (const method of ["device.format", "constructor", "__proto__", "toString"]) {
    const { code, id } = refused(JSON.stringify({ jsonrpc: "2.0", id: 3, method, params: {} }));
    assert.deepEqual([code, id], ["METHOD_NOT_FOUND", 3]);
  }
});

test("what is no request is refused with the right code", () => {
  assert.equal(refused("{").code, "PARSE_ERROR");
  assert.equal(refused("[]").code, "INVALID_REQUEST");
  assert.equal(refused("null").code, "INVALID_REQUEST");
  assert.equal(refused('{"jsonrpc":"2.0","method":"pool.status"}').code, "INVALID_REQUEST");
  assert.equal(refused('{"jsonrpc":"1.0","id":1,"method":"pool.status"}').id, 1);
  assert.equal(refused(" ".repeat(MAX_REQUEST_BYTES + 1)).code, "TOO_LARGE");
  assert.equal(refused(`"${"é".repeat(MAX_REQUEST_BYTES / 2)}"`).code, "TOO_LARGE");
});

test("names are checked before anything else sees them", () => {
  for (const name of ["", "a/b", "../x", "a\0b", "a".repeat(65), ".hidden", "a,b", "a\nb", 7]) {
    const text = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "device.get", params: { name } });
    assert.equal(refused(text).code, "NAME_INVALID", JSON.stringify(name));
  }
  for (const [method, params] of [
    ["device.rename", { name: "a", to: "a/b" }],
    ["device.revert", { name: "a", snapshot: "a/b" }],
    ["device.changedBlocks", { name: "a", from: "a/b" }],
    ["device.snapshotMany", { snapshots: [{ origin: "a", name: "a/b" }] }],
  ]) {
    const text = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    assert.equal(refused(text).code, "NAME_INVALID", text);
  }
  const missing = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "device.get", params: {} });
  assert.equal(refused(missing).code, "INVALID_PARAMS");
});

function create(sizeBytes: unknown): string {
  const params = { name: "a", sizeBytes };
  return JSON.stringify({ jsonrpc: "2.0", id: 1, method: "device.create", params });
}

test("no label is passed over, whatever it is called", () => {
  const update = (labels: string) =>
    parseRequest(
      `{"jsonrpc":"2.0","id":1,"method":"device.update","params":{"name":"a","labels":${labels}}}`,
    );
  const labels = '{"__proto__":null,"constructor":"x","prototype":"y","team":"z"}';
  const parsed = update(labels);
  assert.ok(parsed.ok && parsed.value.method === "device.update");
  assert.equal(JSON.stringify(parsed.value.params.labels), labels);
  const long = JSON.stringify("x".repeat(129));
  for (const wrong of ["1", long, "{}"]) {
    const answer = update(`{"team":"z","constructor":${wrong}}`);
    assert.ok(!answer.ok && answer.code === "INVALID_PARAMS", wrong);
  }
});

test("64-bit values are decimal strings within their bounds", () => {
  assert.equal(parseRequest(create("18446744073709551615")).ok, true);
  for (const bad of [
    "18446744073709551616",
    "-1",
    "01",
    "1e3",
    5,
    "0x10",
    "99999999999999999999",
  ]) {
    assert.equal(refused(create(bad)).code, "INVALID_PARAMS", String(bad));
  }
});

test("a success and a failure come back as they were encoded", () => {
  const success = parseResponse(encodeSuccess(1, "device.remove", {}));
  assert.deepEqual(success, { ok: true, value: { jsonrpc: "2.0", id: 1, result: {} } });
  const error = errorObjectOf({
    code: "BUSY",
    operation: "device.remove",
    object: "one",
    reason: "it is mounted",
    errno: 16,
    errnoName: "EBUSY",
  });
  assert.equal(
    error.message,
    `device.remove of one: it is mounted (EBUSY). ${errorCodes.BUSY.hint}`,
  );
  const failure = parseResponse(encodeFailure("x", error));
  assert.deepEqual(failure, { ok: true, value: { jsonrpc: "2.0", id: "x", error } });
  assert.equal(parseResponse('{"jsonrpc":"2.0","id":1,"error":{"code":1}}').ok, false);
});

test("a result that does not fit its method is refused", () => {
  assert.equal(parseResult("mount.release", { device: "one", count: 0 }).ok, true);
  assert.equal(parseResult("mount.release", { device: "one", count: -1 }).ok, false);
  assert.equal(parseResult("device.list", [{}]).ok, false);
  const mount = { reference: UUID, device: "one", path: "/p", ownerUid: 1, count: 1, more: 1 };
  assert.deepEqual(parseResult("mount.create", mount), {
    ok: true,
    value: { reference: UUID, device: "one", path: "/p", ownerUid: 1, count: 1 },
  });
});

test("error numbers are unique and in the ranges that JSON-RPC leaves", () => {
  const numbers = errorCodeNames.map((name) => errorCodes[name].number);
  assert.equal(new Set(numbers).size, numbers.length);
  for (const number of numbers) {
    const standard = number === -32_700 || (number <= -32_600 && number >= -32_603);
    assert.ok(standard || (number <= -32_000 && number >= -32_099), String(number));
  }
  for (const name of errorCodeNames) assert.match(errorCodes[name].hint, /^[A-Z].*\.$/);
  assert.equal(isErrorCode("constructor"), false);
});

test("the methods that take parameters refuse to go without", () => {
  assert.deepEqual(
    methodNames.filter((name) => !parseRequest(encodeRequest(1, name, {})).ok).toSorted(),
    [
      "device.activate",
      "device.changedBlocks",
      "device.clone",
      "device.create",
      "device.export",
      "device.get",
      "device.import",
      "device.publish",
      "device.remove",
      "device.rename",
      "device.resize",
      "device.revert",
      "device.snapshotMany",
      "device.trim",
      "device.update",
      "mount.create",
      "mount.release",
      "mount.renew",
      "policy.test",
      "session.resume",
      "token.create",
      "token.createConnect",
      "token.revoke",
    ],
  );
});

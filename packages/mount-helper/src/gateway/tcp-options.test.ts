import assert from "node:assert/strict";
import { test } from "node:test";
import { parseTcpAddress, parseTcpFlags } from "./tcp-options.ts";

const NONE = { tcp: undefined, certificate: undefined, key: undefined, origins: [] };
const ALL = { tcp: "[::]:7474", certificate: "/c.pem", key: "/c.key", origins: [] };

test("an address is one in numbers, with a port", () => {
  assert.deepEqual(parseTcpAddress("0.0.0.0:7474"), { host: "0.0.0.0", port: 7474 });
  assert.deepEqual(parseTcpAddress("[::1]:0"), { host: "::1", port: 0 });
  for (const bad of ["7474", "localhost:7474", "::1:7474", "[127.0.0.1]:1", "1.2.3.4:65536"]) {
    assert.throws(() => parseTcpAddress(bad), { code: "OPTION_INVALID" }, bad);
  }
});

test("all of the options or none, and what is missing is named", () => {
  assert.equal(parseTcpFlags(NONE), undefined);
  assert.equal(parseTcpFlags(ALL)?.address.host, "::");
  assert.throws(() => parseTcpFlags({ ...ALL, key: undefined }), { object: "--tls-key" });
  assert.throws(() => parseTcpFlags({ ...NONE, key: "/c.key" }), {
    object: "--tcp, --tls-certificate",
  });
  assert.throws(() => parseTcpFlags({ ...NONE, origins: ["https://a.example"] }), {
    code: "OPTION_INVALID",
  });
});

test("an origin is written as browsers write it", () => {
  const origins = ["https://ci.example.org", "http://localhost:3000"];
  assert.deepEqual(parseTcpFlags({ ...ALL, origins })?.origins, origins);
  for (const bad of ["*", "null", "https://ci.example.org/", "https://CI.example.org", "ci"]) {
    assert.throws(() => parseTcpFlags({ ...ALL, origins: [bad] }), { code: "OPTION_INVALID" }, bad);
  }
});

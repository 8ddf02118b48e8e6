import assert from "node:assert/strict";
import { test } from "node:test";
import { Failures, networkOf } from "./failures.ts";
import {
  FAILED_TOKENS_BLOCK_MS,
  FAILED_TOKENS_PER_SECOND,
  MAX_FAILING_ADDRESSES,
} from "./limits.ts";

test("an IPv6 address counts with its /64, an IPv4 address by itself", () => {
  assert.equal(networkOf("192.0.2.7"), "192.0.2.7");
  assert.equal(networkOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2");
  assert.equal(networkOf("2001:db8::1"), "2001:db8:0:0");
  assert.equal(networkOf("2001:db8:1:2::"), "2001:db8:1:2");
  assert.equal(networkOf("::1"), "0:0:0:0");
});

test("an address that fails too often waits, others do not, and it is heard again", () => {
  const failures = new Failures();
  for (let failed = 0; failed < FAILED_TOKENS_PER_SECOND; failed += 1) {
    failures.count("192.0.2.7", 1_000);
    assert.ok(failures.mayAsk("192.0.2.7", 1_000));
  }
  failures.count("192.0.2.7", 1_000);
  assert.equal(failures.mayAsk("192.0.2.7", 1_000), false);
  assert.ok(failures.mayAsk("192.0.2.8", 1_000));
  assert.equal(failures.mayAsk("192.0.2.7", 999 + FAILED_TOKENS_BLOCK_MS), false);
  assert.ok(failures.mayAsk("192.0.2.7", 1_000 + FAILED_TOKENS_BLOCK_MS));
});

test("of many addresses the one that failed longest ago is forgotten", () => {
  const failures = new Failures();
  const fail = (address: string): void => {
    for (let failed = 0; failed <= FAILED_TOKENS_PER_SECOND; failed += 1) {
      failures.count(address, 1_000);
    }
  };
  fail("first");
  for (let number = 0; number < MAX_FAILING_ADDRESSES - 1; number += 1) fail(`host-${number}`);
  assert.equal(failures.mayAsk("first", 1_000), false);
  fail("last");
  assert.ok(failures.mayAsk("first", 1_000));
  assert.equal(failures.mayAsk("host-0", 1_000), false);
});

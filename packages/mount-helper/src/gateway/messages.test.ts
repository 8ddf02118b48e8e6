import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, checkFromGateway } from "./messages.ts";

test("whatever Node says a client's address is, the gateway is understood", () => {
  const addresses = [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8::1", "2001:db8::1"],
    // A neighbour on the same link: with the interface by which he came.
    ["fe80::1%eth0", "fe80::1"],
    [
      "fe80:1111:2222:3333:4444:5555:6666:7777%enp0s31f6",
      "fe80:1111:2222:3333:4444:5555:6666:7777",
    ],
    [undefined, ""],
  ] as const;
  for (const [remote, address] of addresses) {
    assert.equal(addressOf(remote), address);
    const note = { type: "note", reason: "no TLS", address } as const;
    assert.deepEqual(checkFromGateway(note), note);
  }
});

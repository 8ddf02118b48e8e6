/** A long answer is, to the letter, what would be sent in one piece. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeSuccess, parseResult } from "@thinpool/protocol";
import type { MethodName, MethodResult } from "@thinpool/protocol";
import { encodeLong, longListOf } from "./long-answers.ts";
import { ITEMS_PER_TURN } from "./turns.ts";

type Wire = MethodResult<"device.get">;

const MANY = 2 * ITEMS_PER_TURN + 1;
const uuid = (index: number): string =>
  `0b6f8a52-9f4e-4c56-8a37-${index.toString(16).padStart(12, "0")}`;
const device = (index: number): Wire => ({
  name: `d${index}`,
  uuid: uuid(index),
  thinId: index,
  sizeBytes: "4194304",
  filesystem: "none",
  createdAtMs: 1,
  transactionId: "7",
  ownerUid: 0,
  active: false,
  labels: { 'a "label"': 'of, [] and {"x":[]}', constructor: "\u2028" },
});
const devices = Array.from({ length: MANY }, (_, index) => device(index));

async function sameAsWhole(method: MethodName, result: unknown): Promise<void> {
  const long = longListOf(result);
  assert.ok(long !== undefined);
  const whole = parseResult(method, result);
  assert.ok(whole.ok);
  const id = 'an "id"';
  const bytes: number[] = [];
  const text = await encodeLong({ id, method }, result, long, (sum) => bytes.push(sum));
  assert.equal(text, encodeSuccess(id, method, whole.value));
  assert.equal(bytes.at(-1), Buffer.byteLength(text));
}

test("the result itself, a list in it, and one further in", async () => {
  await sameAsWhole("device.list", devices);
  await sameAsWhole("device.list", { devices, next: "d9" });
  await sameAsWhole("events.next", {
    events: [],
    last: 12,
    state: {
      because: "start",
      pool: {
        uuid: uuid(0),
        state: "working",
        transactionId: "1",
        blockSizeBytes: "65536",
        dataUsedBytes: "0",
        dataTotalBytes: "1",
        metadataUsedBytes: "0",
        metadataTotalBytes: "1",
        lowWaterBytes: "0",
        deviceCount: 1,
        activeCount: 0,
        backing: "loop",
        degradedReason: undefined,
        growth: {
          data: { enabled: true, stepBytes: "1" },
          metadata: { enabled: true, stepBytes: "1" },
        },
      },
      devices,
    },
  });
  const usage = devices.map(({ name, uuid: of }) => ({
    name,
    uuid: of,
    mappedBytes: "1",
    exclusiveBytes: "1",
    sharedBytes: "0",
  }));
  await sameAsWhole("pool.usage", { atMs: 3, devices: usage });
});

function encode(result: unknown, most = Infinity): Promise<string> {
  const long = longListOf(result);
  assert.ok(long !== undefined);
  return encodeLong({ id: 1, method: "device.list" }, result, long, (bytes) => {
    if (bytes > most) throw new RangeError(`${bytes} bytes`);
  });
}

test("an answer that becomes too large ends there", async () => {
  const { length } = await encode(devices);
  assert.equal((await encode(devices, 2 * length)).length, length);
  await assert.rejects(encode(devices, length / 2), RangeError);
});

test("what does not fit is found in every slice, and beside the list", async () => {
  for (const at of [0, ITEMS_PER_TURN, MANY - 1]) {
    const result = devices.with(at, { ...device(at), thinId: -1 });
    await assert.rejects(encode(result), /device\.list does not fit/);
  }
  const result = { devices, next: "no/name" };
  await assert.rejects(encode(result), /device\.list does not fit/);
});

test("a short answer is none of these", () => {
  assert.equal(longListOf(devices.slice(0, ITEMS_PER_TURN)), undefined);
  assert.equal(longListOf({ devices: [], next: undefined, labels: null }), undefined);
});

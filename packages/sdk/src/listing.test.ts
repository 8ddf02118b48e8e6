/** The list of all devices, from a daemon that is the test. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MethodParams, MethodResult } from "@thinpool/protocol";
import { MAX_DEVICES_PER_PAGE, encodeSuccess, parseRequest } from "@thinpool/protocol";
import { hasCode } from "./errors.ts";
import { MAX_LIST_PAGES, listDevices } from "./listing.ts";
import { Requests } from "./requests.ts";

type Params = MethodParams<"device.list">;
type Result = MethodResult<"device.list">;
type Wire = MethodResult<"device.get">;

const named = (name: string, number: number): Wire => ({
  name,
  uuid: `0b6f8a52-9f4e-4c56-8a37-${number.toString().padStart(12, "0")}`,
  thinId: number,
  sizeBytes: "4194304",
  filesystem: "none",
  createdAtMs: 1,
  transactionId: "1",
  ownerUid: 0,
  active: false,
});

/** Its daemon answers by `answer`; undefined: never. */
function setUp(
  answer: (params: Params) => Result | undefined,
  { delayMs = 0 } = {},
): {
  readonly requests: Requests;
  readonly asked: Params[];
} {
  const asked: Params[] = [];
  const requests = new Requests(
    {
      send: (text) => {
        assert.ok(typeof text === "string");
        const parsed = parseRequest(text);
        if (!parsed.ok) return true;
        const { id, method, params } = parsed.value;
        assert.equal(method, "device.list");
        asked.push(params);
        const result = answer(params);
        if (result === undefined) return true;
        const deliver = (): void => requests.receive(encodeSuccess(id, "device.list", result));
        if (delayMs === 0) queueMicrotask(deliver);
        else setTimeout(deliver, delayMs);
        return true;
      },
      distrust: (error) => {
        throw error;
      },
    },
    5_000,
  );
  return { requests, asked };
}

test("pages are asked for until the last, with the filters, and are one list", async () => {
  const { requests, asked } = setUp(({ after }) =>
    after === undefined
      ? { devices: [named("a", 1), named("b", 2)], next: "b" }
      : // A page that has nothing for this user is not the last one.
        after === "b"
        ? { devices: [], next: "m" }
        : { devices: [named("x", 3)] },
  );
  const devices = await listDevices(requests, { ownerUid: 7 }, {});
  assert.deepEqual(
    devices.map(({ name, sizeBytes }) => [name, sizeBytes]),
    ["a", "b", "x"].map((name) => [name, 4_194_304n]),
  );
  const all = { ownerUid: 7, limit: MAX_DEVICES_PER_PAGE };
  assert.deepEqual(asked, [all, { ...all, after: "b" }, { ...all, after: "m" }]);
});

test("one that was renamed between two pages is there once, as it is", async () => {
  const { requests } = setUp(({ after }) =>
    after === undefined
      ? { devices: [named("a", 1), named("b", 2)], next: "b" }
      : { devices: [named("c", 1)] },
  );
  const names = (await listDevices(requests, {}, {})).map(({ name }) => name);
  assert.deepEqual(names, ["b", "c"]);
});

test("an older daemon answers with all of them", async () => {
  const { requests, asked } = setUp(() => [named("a", 1), named("b", 2)]);
  const names = (await listDevices(requests, {}, {})).map(({ name }) => name);
  assert.deepEqual([names, asked.length], [["a", "b"], 1]);
});

test("a daemon whose pages do not end is left", async () => {
  const same = setUp(() => ({ devices: [named("a", 1)], next: "a" }));
  await assert.rejects(listDevices(same.requests, {}, {}), (error) => hasCode(error, "PROTOCOL"));
  assert.equal(same.asked.length, 2);
  let page = 0;
  const endless = setUp(() => {
    page += 1;
    return { devices: [], next: `n${page.toString().padStart(9, "0")}` };
  });
  await assert.rejects(listDevices(endless.requests, {}, {}), (error) => hasCode(error, "LIMIT"));
  assert.equal(endless.asked.length, MAX_LIST_PAGES);
});

test("the time limit is for all pages, and a signal ends whichever is on its way", async () => {
  let page = 0;
  const slow = setUp(
    () => {
      page += 1;
      return { devices: [], next: `n${page.toString().padStart(9, "0")}` };
    },
    { delayMs: 5 },
  );
  const late = listDevices(slow.requests, {}, { timeoutMs: 60 });
  await assert.rejects(late, (error) => hasCode(error, "TIMEOUT"));
  assert.ok(slow.asked.length > 1);
  const silent = setUp(({ after }) =>
    after === undefined ? { devices: [named("a", 1)], next: "a" } : undefined,
  );
  const giver = new AbortController();
  const given = listDevices(silent.requests, {}, { signal: giver.signal });
  setTimeout(() => giver.abort(), 10);
  await assert.rejects(given, (error) => hasCode(error, "ABORTED"));
  assert.equal(silent.asked.length, 2);
});

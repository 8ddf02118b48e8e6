/** Reading the log: what is lost is told, pages follow each other, and a state is replaced by the log. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readEventLog } from "./events.ts";
import type { Requests } from "./requests.ts";

const event = (number: number) => ({ number, atMs: 0, type: "pool-opened" });

/** Answers in their order; what was asked, as "METHOD AFTER". */
function scripted(...answers: readonly unknown[]): { requests: Requests; asked: string[] } {
  const asked: string[] = [];
  const call = async (method: string, { after }: { after?: number }): Promise<unknown> => {
    asked.push(`${method} ${after ?? "-"}`);
    const answer = answers[asked.length - 1];
    if (answer === undefined) throw new Error("it asks no more");
    return answer;
  };
  return { requests: { call } as unknown as Requests, asked };
}

test("pages up to what there was at first; the events of a newer daemon are passed over", async () => {
  const { requests, asked } = scripted(
    {
      events: [event(5), { number: 6, atMs: 0, type: "of-tomorrow" }],
      last: 6,
      oldest: 5,
      newest: 8,
    },
    // It has gone on meanwhile.
    { events: [event(7), event(8)], last: 8, oldest: 5, newest: 9 },
  );
  const seen = [];
  for await (const { number, type } of readEventLog(requests, {})) seen.push(`${number} ${type}`);
  assert.deepEqual(seen, ["5 pool-opened", "7 pool-opened", "8 pool-opened"]);
  assert.deepEqual(asked, ["events.list -", "events.list 6"]);
});

test("following: the lost are told, and where the state comes the log is read in its place", async () => {
  const { requests, asked } = scripted(
    { events: [event(5)], last: 5, oldest: 5, newest: 5 },
    { events: [event(6)], last: 7 },
    { events: [], last: 90, state: {} },
    { events: [event(50)], last: 50, oldest: 50, newest: 50 },
  );
  const seen: unknown[] = [];
  const read = async (): Promise<void> => {
    for await (const one of readEventLog(requests, { after: 1, follow: true })) {
      seen.push(one.type === "lost" ? `${one.first} to ${one.number} lost` : one.number);
    }
  };
  await assert.rejects(read(), /it asks no more/);
  assert.deepEqual(seen, ["2 to 4 lost", 5, 6, "8 to 49 lost", 50]);
  const [first, ...then] = asked;
  assert.equal(first, "events.list 1");
  assert.deepEqual(then, ["events.next 5", "events.next 7", "events.list 7", "events.next 50"]);
});

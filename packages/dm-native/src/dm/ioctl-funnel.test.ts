import assert from "node:assert/strict";
import { test } from "node:test";
import { ERRNO } from "../sys/errno.ts";
import type { LongWaitLane } from "../sys/long-wait.ts";
import type { DmCommand } from "./commands.ts";
import { issue, MAX_INTERRUPTIONS } from "./ioctl-funnel.ts";
import { DM_FLAG } from "./header.ts";

/** A kernel that a signal interrupts so many times; how often it was asked. */
function interrupted(times: number): { readonly lane: LongWaitLane; readonly asked: () => number } {
  let asked = 0;
  const run: LongWaitLane["run"] = () => {
    asked += 1;
    const isInterrupted = asked <= times;
    return Promise.resolve(
      isInterrupted ? { result: -1, errno: ERRNO.EINTR } : { result: 0, errno: 0 },
    );
  };
  return { lane: { run } as unknown as LongWaitLane, asked: () => asked };
}

async function asks(command: DmCommand, times: number): Promise<number> {
  const { lane, asked } = interrupted(times);
  const device = { dev: { major: 253, minor: 1 } };
  const flags = command === "DM_DEV_SUSPEND" ? DM_FLAG.SUSPEND : 0;
  await issue({ fd: -1, lane, events: lane }, { command, device, flags });
  return asked();
}

test("a suspend that a signal interrupts is asked for again, a limited number of times", async () => {
  assert.equal(await asks("DM_DEV_SUSPEND", 0), 1);
  assert.equal(await asks("DM_DEV_SUSPEND", MAX_INTERRUPTIONS), MAX_INTERRUPTIONS + 1);
  await assert.rejects(asks("DM_DEV_SUSPEND", MAX_INTERRUPTIONS + 1), { errnoName: "EINTR" });
});

test("of any other command an interruption is the answer", async () => {
  await assert.rejects(asks("DM_TARGET_MSG", 1), { errnoName: "EINTR" });
  await assert.rejects(asks("DM_DEV_REMOVE", 1), { errnoName: "EINTR" });
});

/** Cookies against this machine's real semaphores; no udevd and no root are needed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { LongWaitLane } from "../sys/long-wait.ts";
import { beginCookie, cookieEventNr } from "./cookie.ts";
import {
  createSemaphore,
  decrementSemaphore,
  destroySemaphore,
  semaphoreValue,
  waitForZero,
} from "./semaphore.ts";

test("the event number holds the cookie below and udev's flags above", () => {
  assert.equal(cookieEventNr(0x1234, "normal"), 0x0040_1234);
  assert.equal(cookieEventNr(0xffff, "internal"), 0x004e_ffff);
});

test("a semaphore starts at one, is counted down, and goes away", () => {
  const semaphore = createSemaphore();
  assert.equal(semaphoreValue(semaphore), 1);
  decrementSemaphore(semaphore);
  assert.equal(semaphoreValue(semaphore), 0);
  decrementSemaphore(semaphore);
  destroySemaphore(semaphore);
  destroySemaphore(semaphore);
  assert.equal(semaphoreValue(semaphore), -1);
});

test("a cookie ends at once without a uevent, by its limit without an answer, and leaves nothing", async () => {
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 1 });
  const quiet = beginCookie(lane, "normal", 5000);
  assert.equal(quiet.pending(), 1);
  assert.equal(await quiet.finish(false), true);
  assert.equal(quiet.pending(), -1);
  const lost = beginCookie(lane, "internal", 80);
  const begun = performance.now();
  assert.equal(await lost.finish(true), false);
  assert.ok(performance.now() - begun >= 75);
  assert.equal(lost.pending(), -1);
  const failed = beginCookie(lane, "normal", 5000);
  failed.abandon();
  assert.equal(failed.pending(), -1);
  await lane.close();
});

test("a wait ends when udev's side counts down or removes the semaphore", async () => {
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 1 });
  for (const answer of ["counts", "removes"] as const) {
    const semaphore = createSemaphore();
    const finished = waitForZero(lane, semaphore, 10_000);
    setTimeout(() => {
      if (answer === "counts") decrementSemaphore(semaphore);
      else destroySemaphore(semaphore);
    }, 100);
    assert.equal(await finished, true);
    destroySemaphore(semaphore);
  }
  await lane.close();
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { DeviceStates } from "./device-state.ts";
import { transition } from "./transition.ts";
import { UndoError, withUndo } from "./undo.ts";

const first = new Error("first");

describe("undo", () => {
  test("runs in reverse, and the error that made it necessary goes up", async () => {
    const seen: string[] = [];
    await assert.rejects(
      withUndo(async (undo) => {
        undo.push("a", () => void seen.push("a"));
        undo.push("b", async () => void seen.push("b"));
        throw first;
      }),
      first,
    );
    assert.deepEqual(seen, ["b", "a"]);
  });

  test("stops where it fails, but for what belongs to the process", async () => {
    const seen: string[] = [];
    await assert.rejects(
      withUndo(async (undo) => {
        undo.pushAlways("lock", () => void seen.push("lock"));
        undo.push("a", () => void seen.push("a"));
        undo.push("b", () => {
          throw new Error("stuck");
        });
        throw first;
      }),
      (error) => {
        assert.ok(error instanceof UndoError);
        assert.equal(error.cause, first);
        assert.match(error.message, /b: stuck/);
        return true;
      },
    );
    assert.deepEqual(seen, ["lock"]);
  });

  test("undoes nothing more after an inner roll-back failed", async () => {
    const seen: string[] = [];
    const inner = new UndoError(first, [new Error("stuck")]);
    await assert.rejects(
      withUndo(async (undo) => {
        undo.push("a", () => void seen.push("a"));
        throw inner;
      }),
      inner,
    );
    assert.deepEqual(seen, []);
  });
});

describe("transition (INV-8)", () => {
  const device = { uuid: "u", name: "n" };

  test("trying, then done; back where it came from on failure; faulty when undoing failed", async () => {
    const states = new DeviceStates();
    await transition(states, device, "activate", async () => {
      assert.equal(states.get("u"), "activating");
    });
    assert.equal(states.get("u"), "active");
    await assert.rejects(
      transition(states, device, "suspend", () => Promise.reject(first)),
      first,
    );
    assert.equal(states.get("u"), "active");
    const stuck = new UndoError(first, []);
    await assert.rejects(
      transition(states, device, "suspend", () => Promise.reject(stuck)),
      stuck,
    );
    assert.equal(states.get("u"), "faulty");
    await assert.rejects(
      transition(states, device, "activate", () => Promise.resolve()),
      { code: "POOL_DEGRADED" },
    );
  });

  test("refuses a verb that does not fit the state, without doing the step", async () => {
    const states = new DeviceStates();
    await assert.rejects(
      transition(states, device, "deactivate", () => assert.fail("it ran")),
      /the device is inactive, not active/,
    );
  });
});

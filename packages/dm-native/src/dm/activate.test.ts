/** The order of steps and their undoing, against a device-mapper that only records and fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { NativeError } from "../errors.ts";
import type { NativeErrorCode } from "../errors.ts";
import { dmName, dmUuid } from "../names.ts";
import { sectors } from "../units.ts";
import { activateDevice, removeDeviceRetrying, sameTable } from "./activate.ts";
import { runOneByOne } from "./run-one-by-one.ts";
import type { DeviceMapper, DmDeviceInfo, DmTableReply, DmTarget } from "./device-mapper.ts";

const NAME = dmName("vm");
const UUID = dmUuid("U-vm");
const TABLE: readonly DmTarget[] = [
  { startSectors: sectors(0), lengthSectors: sectors(8), type: "linear", params: "7:0 0" },
];
const INFO: DmDeviceInfo = {
  name: NAME,
  uuid: UUID,
  dev: { major: 254, minor: 0 },
  openCount: 0,
  eventNr: 0,
  targetCount: 1,
  suspended: false,
  internallySuspended: false,
  readOnly: false,
  hasLiveTable: true,
  hasInactiveTable: false,
  deferredRemove: false,
};

function failure(code: NativeErrorCode, operation: string): NativeError {
  return new NativeError({ code, operation, object: "vm", reason: "as told", hint: "None." });
}

type Step = "createDevice" | "loadTable" | "resume" | "removeDevice" | "table";

class Recorder {
  readonly steps: Step[] = [];
  readonly failures = new Map<Step, NativeError[]>();
  present: DmTableReply = { info: INFO, targets: TABLE };

  fail(step: Step, ...errors: NativeError[]): this {
    this.failures.set(step, errors);
    return this;
  }

  take<T>(step: Step, value: T): Promise<T> {
    this.steps.push(step);
    const error = this.failures.get(step)?.shift();
    return error === undefined ? Promise.resolve(value) : Promise.reject(error);
  }

  mapper(): DeviceMapper {
    const part: Pick<DeviceMapper, Step> = {
      createDevice: () => this.take("createDevice", INFO),
      loadTable: () => this.take("loadTable", INFO),
      resume: () => this.take("resume", INFO),
      removeDevice: () => this.take("removeDevice", "removed" as const),
      table: () => this.take("table", this.present),
    };
    const mapper = part as DeviceMapper;
    mapper.run = (steps, options) => runOneByOne(mapper, steps, options);
    return mapper;
  }
}

const OPTIONS = { name: NAME, uuid: UUID, table: TABLE };

test("create, load, resume", async () => {
  const recorder = new Recorder();
  const { outcome } = await activateDevice(recorder.mapper(), OPTIONS);
  assert.equal(outcome, "activated");
  assert.deepEqual(recorder.steps, ["createDevice", "loadTable", "resume"]);
});

for (const step of ["loadTable", "resume"] as const) {
  test(`a failing ${step} takes the device back and is itself reported`, async () => {
    const error = failure("NATIVE_INVALID", step);
    const recorder = new Recorder().fail(step, error);
    await assert.rejects(activateDevice(recorder.mapper(), OPTIONS), error);
    assert.equal(recorder.steps.at(-1), "removeDevice");
  });
}

test("a failing undo joins the first failure", async () => {
  const recorder = new Recorder()
    .fail("loadTable", failure("NATIVE_INVALID", "load"))
    .fail("removeDevice", failure("NATIVE_IO", "remove"));
  await assert.rejects(activateDevice(recorder.mapper(), OPTIONS), (error: unknown) => {
    assert.ok(error instanceof NativeError && error.cause instanceof AggregateError);
    assert.equal(error.code, "NATIVE_INVALID");
    assert.match(error.reason, /could not be removed/);
    assert.equal(error.cause.errors.length, 2);
    return true;
  });
});

function taken(): Recorder {
  return new Recorder().fail("createDevice", failure("NATIVE_EXISTS", "create"));
}

test("a present device is accepted only when it is the same", async () => {
  assert.equal((await activateDevice(taken().mapper(), OPTIONS)).outcome, "already-active");
  const others: readonly DmTableReply[] = [
    { info: { ...INFO, uuid: dmUuid("other") }, targets: TABLE },
    { info: { ...INFO, uuid: undefined }, targets: TABLE },
    { info: { ...INFO, hasLiveTable: false }, targets: [] },
    { info: { ...INFO, readOnly: true }, targets: TABLE },
    { info: INFO, targets: TABLE.map((line) => ({ ...line, params: "7:0 8" })) },
  ];
  for (const present of others) {
    const recorder = taken();
    recorder.present = present;
    await assert.rejects(
      activateDevice(recorder.mapper(), OPTIONS),
      (error: unknown) => error instanceof NativeError && error.code === "NATIVE_EXISTS",
    );
    assert.deepEqual(recorder.steps, ["createDevice", "table"], "nothing was changed");
  }
  const suspended = taken();
  suspended.present = { info: { ...INFO, suspended: true }, targets: TABLE };
  await activateDevice(suspended.mapper(), OPTIONS);
  assert.equal(suspended.steps.at(-1), "resume");
});

test("removal is tried again while busy, within its bound", async () => {
  const busy = failure("NATIVE_BUSY", "remove");
  const twice = new Recorder().fail("removeDevice", busy, busy);
  await removeDeviceRetrying(twice.mapper(), { name: NAME }, { firstDelayMs: 1 });
  assert.equal(twice.steps.length, 3);
  const always = new Recorder().fail("removeDevice", busy, busy, busy, busy);
  const options = { attempts: 3, firstDelayMs: 1 };
  await assert.rejects(removeDeviceRetrying(always.mapper(), { name: NAME }, options), busy);
  assert.equal(always.steps.length, 3);
  const gone = failure("NATIVE_NOT_FOUND", "remove");
  const missing = new Recorder().fail("removeDevice", gone);
  await assert.rejects(removeDeviceRetrying(missing.mapper(), { name: NAME }), gone);
});

test("tables are compared by meaning", () => {
  const pool = (params: string): DmTarget[] => [{ ...TABLE[0]!, type: "thin-pool", params }];
  assert.ok(sameTable(pool("7:0 7:1 128 0"), pool("7:0 7:1 128 0 0")));
  assert.ok(
    sameTable(
      pool("7:0 7:1 128 0 2 error_if_no_space skip_block_zeroing"),
      pool("7:0 7:1 128 0 2 skip_block_zeroing error_if_no_space"),
    ),
  );
  assert.ok(!sameTable(pool("7:0 7:1 128 0"), pool("7:0 7:1 256 0")));
  assert.ok(!sameTable(TABLE, []));
});

/**
 * Every command of linux/dm-ioctl.h against the kernel, as root. Names carry this run's suffix; the
 * last test proves that nothing is left. LAB_UDEV=1 says that a udevd runs.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, describe, test } from "node:test";
import { promisify } from "node:util";
import {
  LinuxDeviceMapper,
  NativeError,
  activateDevice,
  dataBlocks,
  dmName,
  dmNodePath,
  dmUuid,
  formatDevNumber,
  makeTarget,
  parseTargetStatus,
  parseTargetTable,
  removeDeviceRetrying,
  sectors,
  thinId,
  thinPoolMessage,
  transactionId,
} from "@thinpool/dm-native";
import type {
  DevNumber,
  DmDeviceRef,
  DmName,
  DmTarget,
  NativeErrorCode,
  ThinPoolStatus,
} from "@thinpool/dm-native";
import { NODE_FLAGS } from "./runtime.ts";

const run = promisify(execFile);
const SUFFIX = `t${process.pid}`;
const UDEV = process.env["LAB_UDEV"] === "1";
const MIB_SECTORS = 2048n;

function name(text: string): DmName {
  return dmName(`${text}-${SUFFIX}`);
}

function zeroTable(mib: bigint): DmTarget[] {
  return [makeTarget(sectors(0), sectors(mib * MIB_SECTORS), { type: "zero" })];
}

function linear(dev: DevNumber): DmTarget[] {
  const table = { type: "linear" as const, device: dev, offsetSectors: sectors(0) };
  return [makeTarget(sectors(0), sectors(4096), table)];
}

/** The error of a rejected promise, checked for its code and errno. */
async function fails(
  promise: Promise<unknown>,
  code: NativeErrorCode,
  errno?: string,
): Promise<NativeError> {
  let failure: unknown;
  try {
    await promise;
  } catch (error) {
    failure = error;
  }
  assert.ok(failure instanceof NativeError, `expected ${code}, got ${String(failure)}`);
  assert.equal(failure.code, code, failure.message);
  if (errno !== undefined) assert.equal(failure.errnoName, errno, failure.message);
  assert.ok(failure.hint.length > 0 && failure.operation.length > 0 && failure.object.length > 0);
  return failure;
}

async function dmsetup(...args: string[]): Promise<string> {
  const { stdout } = await run("/usr/sbin/dmsetup", args, {
    env: UDEV ? {} : { DM_DISABLE_UDEV: "1" },
  });
  return stdout.trim();
}

function devOf(path: string): DevNumber {
  const rdev = BigInt(statSync(path).rdev);
  return {
    major: Number((rdev >> 8n) & 0xfffn),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xfff00n)),
  };
}

interface Loop {
  readonly path: string;
  readonly dev: DevNumber;
}

const warnings: NativeError[] = [];
let dm: LinuxDeviceMapper;
let folder = "";
const loops: Loop[] = [];

async function makeLoop(file: string, mib: number): Promise<Loop> {
  const path = join(folder, file);
  writeFileSync(path, "");
  truncateSync(path, mib * 1024 * 1024);
  const { stdout } = await run("/usr/sbin/losetup", ["--find", "--show", path]);
  const node = stdout.trim();
  const loop = { path: node, dev: devOf(node) };
  loops.push(loop);
  return loop;
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), `dm-${SUFFIX}-`));
  dm = await LinuxDeviceMapper.open({ onWarning: (warning) => warnings.push(warning) });
});

after(async () => {
  await dm.close();
  for (const loop of loops) await run("/usr/sbin/losetup", ["--detach", loop.path]);
  rmSync(folder, { recursive: true });
});

describe("device-mapper commands", () => {
  test("version, list_versions, get_target_version", async () => {
    const version = await dm.version();
    assert.equal(version.major, 4);
    assert.match(await dmsetup("version"), new RegExp(`${version.major}\\.${version.minor}\\.`));
    const versions = await dm.listTargetVersions();
    const listed = versions.find((entry) => entry.type === "linear");
    assert.deepEqual(await dm.targetVersion("linear"), listed);
    assert.ok(versions.some((entry) => entry.type === "thin-pool"));
    await fails(dm.targetVersion("no-such-target"), "NATIVE_UNSUPPORTED");
  });

  test("create, load, resume, status, table, rename, set uuid, remove", async () => {
    const device = name("basic odd");
    const created = await dm.createDevice(device);
    assert.equal(created.name, device);
    assert.equal(created.uuid, undefined);
    assert.equal(created.hasLiveTable, false);
    assert.ok(!existsSync(dmNodePath(device)), "no node before the resume");
    await fails(dm.createDevice(device), "NATIVE_EXISTS", "EBUSY");

    const loaded = await dm.loadTable({ name: device }, zeroTable(8n));
    assert.ok(loaded.hasInactiveTable);
    assert.ok(!loaded.hasLiveTable);
    assert.equal((await dm.table({ name: device })).targets.length, 0, "nothing is live yet");
    assert.equal((await dm.table({ name: device }, { inactive: true })).targets.length, 1);
    const live = await dm.resume({ name: device });
    assert.ok(live.hasLiveTable && !live.hasInactiveTable && !live.suspended);
    assert.deepEqual(devOf(dmNodePath(device)), live.dev);
    assert.deepEqual((await dm.table({ name: device })).targets, zeroTable(8n));
    assert.equal(await dmsetup("table", device), "0 16384 zero");

    const suspended = await dm.suspend({ name: device }, { noFlush: true, skipLockFs: true });
    assert.ok(suspended.suspended);
    assert.ok((await dm.deviceStatus({ dev: live.dev })).suspended);
    assert.ok(!(await dm.resume({ dev: live.dev })).suspended);

    const uuid = dmUuid(`TEST-${SUFFIX}-basic`);
    assert.equal((await dm.setUuid({ name: device }, uuid)).uuid, uuid);
    await fails(
      dm.setUuid({ name: device }, dmUuid(`OTHER-${SUFFIX}`)),
      "NATIVE_INVALID",
      "EINVAL",
    );
    assert.equal((await dm.deviceStatus({ uuid })).name, device);
    await fails(dm.createDevice(name("same-uuid"), { uuid }), "NATIVE_EXISTS", "EBUSY");

    const renamed = name("renamed");
    assert.equal((await dm.renameDevice({ uuid }, renamed)).name, renamed);
    assert.ok(!existsSync(dmNodePath(device)));
    assert.deepEqual(devOf(dmNodePath(renamed)), live.dev);
    const other = name("other");
    await dm.createDevice(other);
    await fails(dm.renameDevice({ name: other }, renamed), "NATIVE_EXISTS", "EBUSY");
    await fails(dm.renameDevice({ name: other }, dmName("control")), "NATIVE_INVALID");

    assert.equal(await dm.removeDevice({ name: other }), "removed");
    assert.equal(await dm.removeDevice({ uuid }), "removed");
    assert.ok(!existsSync(dmNodePath(renamed)));
    await fails(dm.deviceStatus({ uuid }), "NATIVE_NOT_FOUND", "ENXIO");
    await fails(dm.removeDevice({ name: renamed }), "NATIVE_NOT_FOUND", "ENXIO");
  });

  test("a fixed minor, a read-only table, clear, a refused table", async () => {
    const device = name("minor");
    const info = await dm.createDevice(device, { minor: 250 });
    assert.equal(info.dev.minor, 250);
    await dm.loadTable({ name: device }, zeroTable(1n), { readOnly: true });
    assert.ok((await dm.resume({ name: device })).readOnly);
    await dm.loadTable({ name: device }, zeroTable(2n));
    assert.ok((await dm.deviceStatus({ name: device })).hasInactiveTable);
    assert.ok(!(await dm.clearTable({ name: device })).hasInactiveTable);
    const bad: DmTarget = { ...zeroTable(1n)[0]!, type: "no-such" };
    await fails(dm.loadTable({ name: device }, [bad]), "NATIVE_INVALID", "EINVAL");
    await dm.removeDevice({ name: device });
  });

  test("table_deps, holders in the error of a busy removal, deferred removal", async () => {
    const loop = await makeLoop("deps", 4);
    const lower = name("lower");
    const upper = name("upper");
    const made = await activateDevice(dm, {
      name: lower,
      uuid: dmUuid(`lower-${SUFFIX}`),
      table: linear(loop.dev),
    });
    assert.equal(made.outcome, "activated");
    const again = await activateDevice(dm, {
      name: lower,
      uuid: dmUuid(`lower-${SUFFIX}`),
      table: linear(loop.dev),
    });
    assert.equal(again.outcome, "already-active");
    await fails(
      activateDevice(dm, { name: lower, uuid: dmUuid(`lower-${SUFFIX}`), table: zeroTable(2n) }),
      "NATIVE_EXISTS",
    );
    await fails(
      activateDevice(dm, { name: lower, uuid: dmUuid(`x-${SUFFIX}`), table: linear(loop.dev) }),
      "NATIVE_EXISTS",
    );
    assert.deepEqual(await dm.tableDependencies({ name: lower }), [loop.dev]);
    const table = await dm.table({ name: lower });
    assert.deepEqual(parseTargetTable(table.targets[0]!), {
      type: "linear",
      device: loop.dev,
      offsetSectors: 0n,
    });

    await activateDevice(dm, {
      name: upper,
      uuid: dmUuid(`upper-${SUFFIX}`),
      table: linear(made.info.dev),
    });
    assert.deepEqual(await dm.tableDependencies({ name: upper }), [made.info.dev]);
    const busy = await fails(dm.removeDevice({ name: lower }), "NATIVE_BUSY", "EBUSY");
    assert.match(busy.hint, new RegExp(upper));
    assert.equal((await dm.deviceStatus({ name: lower })).openCount, 1);
    await fails(removeDeviceRetrying(dm, { name: lower }, { attempts: 3 }), "NATIVE_BUSY", "EBUSY");

    assert.equal(await dm.removeDevice({ name: lower }, { deferred: true }), "deferred");
    assert.ok((await dm.deviceStatus({ name: lower })).deferredRemove);
    await dm.message({ name: lower }, "@cancel_deferred_remove");
    assert.ok(!(await dm.deviceStatus({ name: lower })).deferredRemove);
    const file = openSync(dmNodePath(upper), "r");
    await fails(dm.removeDevice({ name: upper }), "NATIVE_BUSY", "EBUSY");
    assert.equal(await dm.removeDevice({ name: upper }, { deferred: true }), "deferred");
    closeSync(file);
    // The kernel removes it from a work queue: soon, not at once.
    const isUpper = (entry: { readonly name: DmName }): boolean => entry.name === upper;
    for (let attempt = 0; attempt < 100; attempt += 1) {
      if (!(await dm.listDevices()).some(isUpper)) break;
      await sleep(20);
    }
    await fails(dm.deviceStatus({ name: upper }), "NATIVE_NOT_FOUND");
    // It lets go of the lower one after its name is gone.
    await removeDeviceRetrying(dm, { name: lower });
    rmSync(dmNodePath(upper), { force: true });
  });

  test("a failed activation leaves no device", async () => {
    const device = name("half");
    const table: DmTarget[] = [{ ...zeroTable(1n)[0]!, type: "linear", params: "0:0 0" }];
    await assert.rejects(
      activateDevice(dm, { name: device, uuid: dmUuid(`half-${SUFFIX}`), table }),
      NativeError,
    );
    await fails(dm.deviceStatus({ name: device }), "NATIVE_NOT_FOUND");
  });

  test("set_geometry", async () => {
    const device = name("geometry");
    await activateDevice(dm, { name: device, uuid: dmUuid(`geo-${SUFFIX}`), table: zeroTable(8n) });
    const geometry = { cylinders: 16, heads: 4, sectorsPerTrack: 32, startSectors: sectors(0) };
    assert.equal((await dm.setGeometry({ name: device }, geometry)).name, device);
    await fails(dm.setGeometry({ name: device }, { ...geometry, heads: 256 }), "NATIVE_INVALID");
    await fails(
      dm.setGeometry({ name: device }, { ...geometry, startSectors: sectors(1n << 40n) }),
      "NATIVE_INVALID",
      "EINVAL",
    );
    await dm.removeDevice({ name: device });
  });

  test("replies larger than the first buffer: a long list and a long table", async () => {
    // 16 KiB hold some 170 entries of this length, and some 300 lines of a table.
    const DEVICES = 200;
    const LINES = 1000;
    const many = Array.from({ length: DEVICES }, (_, index) =>
      name(`many-${"x".repeat(40)}-${index}`),
    );
    for (const device of many) await dm.createDevice(device, { uuid: dmUuid(`U-${device}`) });
    const listed = (await dm.listDevices()).filter((entry) => many.includes(entry.name));
    assert.equal(listed.length, DEVICES);
    assert.ok(listed.every((entry) => entry.uuid === `U-${entry.name}` && entry.eventNr === 0));
    const asked = await Promise.all(many.map((device) => dm.deviceStatus({ name: device })));
    assert.deepEqual(
      asked.map((info) => info.name),
      many,
      "each question its own answer",
    );
    const first: DmDeviceRef = { name: many[0]! };
    const table = Array.from({ length: LINES }, (_, index) =>
      makeTarget(sectors(index * 8), sectors(8), { type: "zero" }),
    );
    await dm.loadTable(first, table);
    await dm.resume(first);
    assert.deepEqual((await dm.table(first)).targets, table);
    assert.equal((await dm.tableStatus(first)).targets.length, LINES);
    for (const device of many) await dm.removeDevice({ name: device });
  });

  test("event poll and wait: woken by an event, aborted, out of time", async () => {
    const device = name("events");
    const poll = await dm.openEventPoll();
    assert.equal(await poll.wait({ timeoutMs: 0 }), false);
    const { info } = await activateDevice(dm, {
      name: device,
      uuid: dmUuid(`ev-${SUFFIX}`),
      table: zeroTable(1n),
    });
    assert.equal(await poll.wait({ timeoutMs: 5000 }), true);
    assert.equal(await poll.wait({ timeoutMs: 50 }), false, "armed again");
    const listed = (await dm.listDevices()).find((entry) => entry.name === device);
    assert.equal(listed?.eventNr, (await dm.deviceStatus({ name: device })).eventNr);

    const abort = new AbortController();
    const polling = poll.wait({ timeoutMs: 60_000, signal: abort.signal });
    await fails(poll.wait({ timeoutMs: 1 }), "NATIVE_REFUSED");
    setTimeout(() => abort.abort(new Error("enough polled")), 100);
    await assert.rejects(polling, /enough polled/);

    const stop = new AbortController();
    const waiting = dm.waitEvent({ name: device }, { eventNr: info.eventNr, signal: stop.signal });
    setTimeout(() => stop.abort(new Error("enough waited")), 200);
    await assert.rejects(waiting, /enough waited/);
    assert.equal((await dm.deviceStatus({ name: device })).openCount, 0);

    const woken = dm.waitEvent({ dev: info.dev }, { eventNr: info.eventNr });
    // A rename raises an event, as a target's own events do; a mere table swap does not.
    await dm.renameDevice({ name: device }, name("events2"));
    const reply = await woken;
    assert.ok(reply.info.eventNr > info.eventNr);
    assert.equal(reply.targets[0]?.type, "zero");
    const past = await dm.waitEvent({ name: name("events2") }, { eventNr: info.eventNr });
    assert.equal(past.info.eventNr, reply.info.eventNr);

    assert.equal(await poll.wait({ timeoutMs: 1000 }), true, "the rename above");
    const closing = poll.wait({ timeoutMs: 60_000 });
    const closed = fails(closing, "NATIVE_REFUSED");
    await poll.close();
    await closed;
    await dm.removeDevice({ name: name("events2") });
  });

  test("thin-pool: table, status, messages and their refusals", async () => {
    const metadata = await makeLoop("metadata", 4);
    const data = await makeLoop("data", 64);
    const pool = name("pool");
    const BLOCK = sectors(128);
    const table = [
      makeTarget(sectors(0), sectors(64n * MIB_SECTORS), {
        type: "thin-pool",
        metadata: metadata.dev,
        data: data.dev,
        blockSectors: BLOCK,
        lowWater: dataBlocks(16),
        skipBlockZeroing: true,
        discard: "passdown",
        readOnly: false,
        errorIfNoSpace: true,
        otherFeatures: [],
      }),
    ];
    const { info } = await activateDevice(dm, {
      name: pool,
      uuid: dmUuid(`pool-${SUFFIX}`),
      table,
    });
    const ref: DmDeviceRef = { name: pool };
    const shown = await dm.table(ref);
    assert.deepEqual(shown.targets, table);
    assert.equal(`0 131072 thin-pool ${shown.targets[0]?.params}`, await dmsetup("table", pool));
    const status = async (): Promise<ThinPoolStatus> => {
      const reply = await dm.tableStatus(ref, { noFlush: true });
      const parsed = parseTargetStatus(reply.targets[0]!);
      assert.equal(parsed.type, "thin-pool");
      return parsed;
    };
    const fresh = await status();
    assert.ok(fresh.state === "working");
    assert.equal(fresh.totalData, 1024n);
    assert.equal(fresh.usedData, 0n);
    assert.equal(fresh.transactionId, 0n);
    assert.equal(fresh.onNoSpace, "error");
    assert.equal(fresh.mode, "rw");

    const send = (text: string): Promise<string | undefined> => dm.message(ref, text);
    assert.equal(await send(thinPoolMessage.createThin(thinId(1))), undefined);
    await fails(send(thinPoolMessage.createThin(thinId(1))), "NATIVE_EXISTS", "EEXIST");
    await send(thinPoolMessage.createSnap(thinId(2), thinId(1)));
    await fails(send(thinPoolMessage.createSnap(thinId(2), thinId(1))), "NATIVE_EXISTS", "EEXIST");
    await fails(
      send(thinPoolMessage.createSnap(thinId(3), thinId(77))),
      "NATIVE_NOT_FOUND",
      "ENODATA",
    );
    await fails(send(thinPoolMessage.delete(thinId(77))), "NATIVE_NOT_FOUND", "ENODATA");
    await fails(send("no_such_message"), "NATIVE_INVALID", "EINVAL");
    await fails(send(" "), "NATIVE_INVALID");
    await send(thinPoolMessage.setTransactionId(transactionId(0), transactionId(1)));
    await fails(
      send(thinPoolMessage.setTransactionId(transactionId(0), transactionId(2))),
      "NATIVE_INVALID",
      "EINVAL",
    );
    await send(thinPoolMessage.reserveMetadataSnap());
    await fails(send(thinPoolMessage.reserveMetadataSnap()), "NATIVE_BUSY", "EBUSY");
    const held = await status();
    assert.ok(held.state === "working" && held.heldMetadataRoot !== undefined);
    assert.equal(held.transactionId, 1n);
    await send(thinPoolMessage.releaseMetadataSnap());

    const thin = name("thin");
    const thinTable = [
      makeTarget(sectors(0), sectors(32n * MIB_SECTORS), {
        type: "thin",
        pool: info.dev,
        id: thinId(1),
        externalOrigin: undefined,
      }),
    ];
    await activateDevice(dm, { name: thin, uuid: dmUuid(`thin-${SUFFIX}`), table: thinTable });
    await fails(send(thinPoolMessage.delete(thinId(1))), "NATIVE_BUSY", "EBUSY");
    const empty = await dm.tableStatus({ name: thin });
    assert.deepEqual(parseTargetStatus(empty.targets[0]!), {
      type: "thin",
      state: "working",
      mappedSectors: 0n,
      highestMappedSector: undefined,
    });
    await run("/usr/bin/dd", [
      "if=/dev/zero",
      `of=${dmNodePath(thin)}`,
      "bs=64k",
      "count=2",
      "conv=fsync",
    ]);
    const written = await dm.tableStatus({ name: thin });
    assert.deepEqual(parseTargetStatus(written.targets[0]!), {
      type: "thin",
      state: "working",
      mappedSectors: 256n,
      highestMappedSector: 255n,
    });
    const raw = (await dm.tableStatus(ref)).targets[0]!;
    assert.equal(`0 131072 thin-pool ${raw.params}`, await dmsetup("status", pool));

    await removeDeviceRetrying(dm, { name: thin });
    await send(thinPoolMessage.delete(thinId(1)));
    await removeDeviceRetrying(dm, ref);
    await fails(dm.message(ref, "x"), "NATIVE_NOT_FOUND", "ENXIO");
  });

  test("messages with a reply", async () => {
    const device = name("stats");
    await activateDevice(dm, { name: device, uuid: dmUuid(`st-${SUFFIX}`), table: zeroTable(8n) });
    const region = await dm.message({ name: device }, "@stats_create - 1");
    assert.match(region ?? "", /^\d+$/);
    // 16384 areas of one sector: some 26 bytes each, so the reply needs more than the first 16 KiB.
    const printed = await dm.message({ name: device }, `@stats_print ${region}`);
    assert.ok((printed ?? "").length > 100_000);
    await dm.message({ name: device }, `@stats_delete ${region}`);
    await dm.removeDevice({ name: device });
  });

  test("striped, error, flakey and delay load, print and report", async () => {
    const loop = await makeLoop("targets", 8);
    const part = { device: loop.dev, offsetSectors: sectors(0) };
    const tables = [
      {
        type: "striped" as const,
        chunkSectors: sectors(128),
        stripes: [part, { ...part, offsetSectors: sectors(8192) }],
      },
      { type: "error" as const },
      { type: "flakey" as const, ...part, upSeconds: 5, downSeconds: 1, features: ["drop_writes"] },
      {
        type: "delay" as const,
        read: { ...part, delayMs: 1 },
        write: { ...part, delayMs: 2 },
        flush: undefined,
      },
    ];
    for (const table of tables) {
      const device = name(`target-${table.type}`);
      const target = makeTarget(sectors(0), sectors(8192), table);
      await activateDevice(dm, {
        name: device,
        uuid: dmUuid(`${table.type}-${SUFFIX}`),
        table: [target],
      });
      const reply = await dm.table({ name: device });
      assert.deepEqual(parseTargetTable(reply.targets[0]!), table);
      const status = parseTargetStatus((await dm.tableStatus({ name: device })).targets[0]!);
      assert.ok(status.type === table.type || status.type === "unknown");
      await removeDeviceRetrying(dm, { name: device });
    }
  });

  test("many commands at once", async () => {
    // udev's rules take long in a slow guest.
    const PARALLEL = UDEV ? 6 : 24;
    const devices = Array.from({ length: PARALLEL }, (_, index) => name(`par-${index}`));
    await Promise.all(
      devices.map((device) =>
        activateDevice(dm, { name: device, uuid: dmUuid(`P-${device}`), table: zeroTable(1n) }),
      ),
    );
    await Promise.all(devices.map((device) => dm.suspend({ name: device })));
    await Promise.all(devices.map((device) => dm.resume({ name: device })));
    await Promise.all(devices.map((device) => removeDeviceRetrying(dm, { name: device })));
  });

  test("nodes: a stale one is replaced, a file in the way is refused", async () => {
    const device = name("node");
    const path = dmNodePath(device);
    await run("/usr/bin/mknod", [path, "b", "7", "200"]);
    const { info } = await activateDevice(dm, {
      name: device,
      uuid: dmUuid(`n-${SUFFIX}`),
      table: zeroTable(1n),
    });
    assert.deepEqual(devOf(path), info.dev);
    // udev makes no link where a node lies: we replaced it and said so.
    if (UDEV) assert.equal(warnings.pop()?.code, "NATIVE_NOT_FOUND");
    if (!UDEV) assert.equal(lstatSync(path).mode & 0o777, 0o600);
    await dm.removeDevice({ name: device });
    writeFileSync(path, "not a device");
    if (!UDEV) {
      await fails(
        activateDevice(dm, { name: device, uuid: dmUuid(`n2-${SUFFIX}`), table: zeroTable(1n) }),
        "NATIVE_EXISTS",
      );
      await fails(dm.deviceStatus({ name: device }), "NATIVE_NOT_FOUND");
    }
    assert.equal(readFileSync(path, "utf8"), "not a device");
    rmSync(path);
  });

  test(
    "udev: rules made the links, no cookie is left, nothing was warned of",
    { skip: !UDEV && "no udevd here" },
    async () => {
      const device = name("udev");
      const { info } = await activateDevice(dm, {
        name: device,
        uuid: dmUuid(`u-${SUFFIX}`),
        table: zeroTable(1n),
      });
      assert.ok(lstatSync(dmNodePath(device)).isSymbolicLink(), "udev's own link");
      assert.ok(
        existsSync(`/run/udev/data/b${formatDevNumber(info.dev)}`),
        "udev was through at once",
      );
      await dm.renameDevice({ name: device }, name("udev2"));
      assert.ok(lstatSync(dmNodePath(name("udev2"))).isSymbolicLink());
      await dm.removeDevice({ name: name("udev2") });
      assert.ok(!existsSync(dmNodePath(name("udev2"))));
      assert.match(await dmsetup("udevcookies"), /^(cookie\s.*|)$/i);
      assert.deepEqual(warnings, []);
    },
  );

  test(
    "a udevd that never answers: the wait ends, the node is made, no cookie is left",
    { skip: UDEV && "a real udevd answers" },
    async () => {
      const CONTROL = "/run/udev/control";
      const disabled = process.env["DM_DISABLE_UDEV"];
      delete process.env["DM_DISABLE_UDEV"];
      mkdirSync("/run/udev", { recursive: true });
      writeFileSync(CONTROL, "");
      const told: NativeError[] = [];
      const mapper = await LinuxDeviceMapper.open({
        udevTimeoutMs: 100,
        onWarning: (warning) => told.push(warning),
        udevRules: () => "internal",
      });
      try {
        const device = name("deaf");
        await activateDevice(mapper, {
          name: device,
          uuid: dmUuid(`d-${SUFFIX}`),
          table: zeroTable(1n),
        });
        assert.deepEqual(
          told.map((warning) => warning.code),
          ["NATIVE_TIMEOUT", "NATIVE_NOT_FOUND"],
        );
        assert.ok(existsSync(dmNodePath(device)));
        await mapper.removeDevice({ name: device });
        assert.ok(!existsSync(dmNodePath(device)));
        assert.doesNotMatch(readFileSync("/proc/sysvipc/sem", "utf8"), /^\s*223[0-9]{6}\s/m);
      } finally {
        await mapper.close();
        rmSync(CONTROL);
        if (disabled !== undefined) process.env["DM_DISABLE_UDEV"] = disabled;
      }
    },
  );

  test("a run where udevd is: devices by their names, refusals told as without, no cookie left", async () => {
    const CONTROL = "/run/udev/control";
    const disabled = process.env["DM_DISABLE_UDEV"];
    if (!UDEV) {
      delete process.env["DM_DISABLE_UDEV"];
      mkdirSync("/run/udev", { recursive: true });
      writeFileSync(CONTROL, "");
    }
    const mapper = await LinuxDeviceMapper.open({ udevTimeoutMs: 100, onWarning: () => undefined });
    try {
      const device = { name: name("run") };
      const resume = { command: "resume", device } as const;
      const made = await mapper.run([
        { command: "create", name: device.name, uuid: dmUuid(`run-${SUFFIX}`) },
        { command: "load", device, table: zeroTable(1n) },
        resume,
      ]);
      assert.equal(made.failure, undefined);
      assert.equal(made.infos.length, 3);
      const missing = await mapper.run([
        resume,
        { command: "resume", device: { uuid: dmUuid(`none-${SUFFIX}`) } },
      ]);
      assert.deepEqual([missing.infos.length, missing.failure?.code], [1, "NATIVE_NOT_FOUND"]);
      await fails(mapper.run([resume, { command: "message", device, text: "" }]), "NATIVE_INVALID");
      await mapper.removeDevice(device);
      assert.doesNotMatch(readFileSync("/proc/sysvipc/sem", "utf8"), /^\s*223[0-9]{6}\s/m);
    } finally {
      await mapper.close();
      if (!UDEV) rmSync(CONTROL);
      if (disabled !== undefined) process.env["DM_DISABLE_UDEV"] = disabled;
    }
  });

  test("a missing control node is made again", async () => {
    rmSync("/dev/mapper/control");
    await using mapper = await LinuxDeviceMapper.open();
    assert.deepEqual(await mapper.version(), await dm.version());
    assert.equal(lstatSync("/dev/mapper/control").mode & 0o777, 0o600);
  });

  test("without the capability each command says which one", async () => {
    const program = `
      import { LinuxDeviceMapper } from "@thinpool/dm-native";
      process.setgid(1000);
      process.setuid(1000);
      try { await LinuxDeviceMapper.open(); console.log("opened"); }
      catch (error) { console.log(error.code, error.message); }
    `;
    const { stdout } = await run(
      process.execPath,
      [...NODE_FLAGS, "--input-type=module", "-e", program],
      { cwd: import.meta.dirname },
    );
    assert.match(stdout, /^NATIVE_PERMISSION .*CAP_SYS_ADMIN/);
  });

  test("remove_all takes what is unused and leaves what is open", async () => {
    const free = name("free");
    const held = name("held");
    for (const device of [free, held]) {
      await activateDevice(dm, {
        name: device,
        uuid: dmUuid(`ra-${device}`),
        table: zeroTable(1n),
      });
    }
    const file = openSync(dmNodePath(held), "r");
    await dm.removeAll();
    await fails(dm.deviceStatus({ name: free }), "NATIVE_NOT_FOUND");
    assert.ok(!existsSync(dmNodePath(free)));
    assert.equal((await dm.deviceStatus({ name: held })).openCount, 1);
    closeSync(file);
    await dm.removeDevice({ name: held });
  });

  test("closing ends waits and refuses further commands", async () => {
    const mapper = await LinuxDeviceMapper.open();
    const device = name("closing");
    const info = await mapper.createDevice(device);
    const waiting = mapper.waitEvent({ name: device }, { eventNr: info.eventNr });
    const ended = assert.rejects(waiting);
    await mapper.close();
    await ended;
    await fails(mapper.version(), "NATIVE_REFUSED");
    await dm.removeDevice({ name: device });
  });

  test("nothing is left", async () => {
    const mine = (await dm.listDevices()).filter((entry) => entry.name.includes(SUFFIX));
    assert.deepEqual(mine, []);
    assert.doesNotMatch(readFileSync("/proc/self/mountinfo", "utf8"), new RegExp(SUFFIX));
    assert.deepEqual(warnings, []);
  });
});

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { NativeError } from "../errors.ts";
import { ERRNO, errnoName, nativeErrorFromErrno } from "./errno.ts";
import { libcFunction, open as libcOpen, poll } from "./libc.ts";
import { ThreadStore } from "./long-wait-threads.ts";
import type { LongCallReply, LongCallRequest, LongCallSetup } from "./long-wait-threads.ts";
import { LongWaitLane } from "./long-wait.ts";

const pipe = libcFunction("int pipe(void *fds)");
const write = libcFunction("long write(int fd, const void *bytes, size_t count)");
const close = libcFunction("int close(int fd)");
const gettid = libcFunction("int gettid()");
const POLLIN = 1;
/** What hangs hangs for ever; a machine that is busy with other tests takes its time. */
const LIMIT_MS = 60_000;

function pollRequest(fd: number): Buffer {
  const request = Buffer.alloc(8);
  request.writeInt32LE(fd, 0);
  request.writeInt16LE(POLLIN, 4);
  return request;
}

function openPipe(): { readonly readEnd: number; readonly writeEnd: number } {
  const fds = Buffer.alloc(8);
  assert.equal(pipe.sync(fds).result, 0);
  return { readEnd: fds.readInt32LE(0), writeEnd: fds.readInt32LE(4) };
}

/** Those of the threads that there still are. */
function alive(ids: readonly number[]): readonly number[] {
  const present = readdirSync("/proc/self/task");
  return ids.filter((id) => present.includes(String(id)));
}

test("a failed call carries its errno, sync, async and in the lane", async () => {
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 1 });
  const expected = { result: -1, errno: ERRNO.EBADF };
  assert.deepEqual(close.sync(-1), expected);
  assert.deepEqual(await close.async(-1), expected);
  assert.deepEqual(await lane.run(close, [-1]), expected);
  await lane.close();
});

test("the lane writes buffers back, interrupts on abort, queues, and refuses beyond its bounds", async () => {
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 1 });
  const { readEnd, writeEnd } = openPipe();
  const abort = new AbortController();
  const request = pollRequest(readEnd);
  const waiting = lane.run(poll, [request, 1, -1], { signal: abort.signal });
  const queued = lane.run(close, [-1]);
  await assert.rejects(
    lane.run(close, [-1]),
    (error: unknown) => error instanceof NativeError && error.code === "NATIVE_REFUSED",
  );
  abort.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  assert.equal((await queued).errno, ERRNO.EBADF);

  const again = lane.run(poll, [request, 1, -1]);
  assert.equal(write.sync(writeEnd, Buffer.from("x"), 1).result, 1);
  assert.deepEqual(await again, { result: 1, errno: 0 });
  assert.equal(request.readInt16LE(6) & POLLIN, POLLIN);
  await lane.close();
  close.sync(readEnd);
  close.sync(writeEnd);
});

test("several calls run in their order on one thread, up to the first that fails", async () => {
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 0 });
  const fds = Buffer.alloc(8);
  const { readEnd, writeEnd } = openPipe();
  const outcomes = await lane.runAll([
    { fn: pipe, args: [fds] },
    { fn: write, args: [writeEnd, Buffer.from("xy"), 2] },
    { fn: close, args: [-1] },
    { fn: close, args: [writeEnd] },
  ]);
  assert.deepEqual(outcomes, [
    { result: 0, errno: 0 },
    { result: 2, errno: 0 },
    { result: -1, errno: ERRNO.EBADF },
  ]);
  assert.deepEqual(await lane.runAll([]), []);
  const made = [fds.readInt32LE(0), fds.readInt32LE(4)];
  // All four are open: what came after the failure was not tried.
  for (const fd of [readEnd, writeEnd, ...made]) assert.equal(close.sync(fd).result, 0);
  await lane.close();
});

test("a call is given what an earlier one of its job returned", async () => {
  const read = libcFunction("long read(int fd, void *bytes, size_t count)");
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 0 });
  const bytes = Buffer.alloc(3, 7);
  const fd = { resultOf: 1 };
  const [, opened, ...others] = await lane.runAll([
    { fn: gettid, args: [] },
    { fn: libcOpen, args: ["/dev/zero", 0, 0] },
    { fn: read, args: [fd, bytes, 3] },
    { fn: close, args: [fd] },
    { fn: close, args: [fd] },
  ]);
  assert.ok((opened?.result ?? -1) > 2);
  assert.deepEqual(others, [
    { result: 3, errno: 0 },
    { result: 0, errno: 0 },
    { result: -1, errno: ERRNO.EBADF },
  ]);
  assert.deepEqual(bytes, Buffer.alloc(3));
  await lane.close();
});

test("byte arrays of any size, those of all calls at once, are what the kernel made of them", async () => {
  const read = libcFunction("long read(int fd, void *bytes, size_t count)");
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 0 });
  await using zeros = await open("/dev/zero");
  for (const sizes of [
    [3, 5],
    [200_000, 1],
    [3, 0, 5],
  ]) {
    const arrays = sizes.map((size) => Buffer.alloc(size + 1, 7));
    const outcomes = await lane.runAll(
      arrays.map((bytes, index) => ({ fn: read, args: [zeros.fd, bytes, sizes[index] ?? 0] })),
    );
    assert.deepEqual(
      outcomes.map(({ result }) => result),
      sizes,
    );
    for (const bytes of arrays) {
      assert.equal(bytes.indexOf(7), bytes.length - 1, "all but the last byte was written");
    }
  }
  await lane.close();
});

test("short calls share one thread, a call that waits gets the others another", async () => {
  const threadsOf = async (lane: LongWaitLane, count: number): Promise<Set<number>> => {
    const calls = Array.from({ length: count }, () => lane.run(gettid, []));
    return new Set((await Promise.all(calls)).map(({ result }) => result));
  };
  const options = { name: "test", maxThreads: 8, maxQueued: 100 };
  const patient = new LongWaitLane({ ...options, patienceMs: LIMIT_MS });
  assert.equal((await threadsOf(patient, 50)).size, 1);
  await patient.close();
  const lane = new LongWaitLane(options);
  const [first] = await threadsOf(lane, 1);
  const { readEnd, writeEnd } = openPipe();
  const waiting = lane.run(poll, [pollRequest(readEnd), 1, -1]);
  const [second] = await threadsOf(lane, 1);
  assert.notEqual(second, first);
  assert.equal(write.sync(writeEnd, Buffer.from("x"), 1).result, 1);
  assert.equal((await waiting).result, 1);
  await lane.close();
  close.sync(readEnd);
  close.sync(writeEnd);
});

test("threads that were needed for a moment end, all but one", async () => {
  const threads = new ThreadStore(20);
  const lane = new LongWaitLane({
    name: "test",
    maxThreads: 2,
    maxQueued: 8,
    patienceMs: 0,
    threads,
  });
  const { readEnd, writeEnd } = openPipe();
  const waiting = lane.runAll([
    { fn: gettid, args: [] },
    { fn: poll, args: [pollRequest(readEnd), 1, -1] },
  ]);
  const ids = [(await lane.run(gettid, [])).result];
  assert.equal(write.sync(writeEnd, Buffer.from("x"), 1).result, 1);
  ids.push((await waiting)[0]?.result ?? 0);
  assert.equal(new Set(ids).size, 2);
  const deadline = performance.now() + LIMIT_MS;
  while (alive(ids).length > 1 && performance.now() < deadline) await sleep(20);
  assert.equal(alive(ids).length, 1);
  await sleep(100);
  assert.deepEqual(alive(ids), [(await lane.run(gettid, [])).result], "the last one stays");
  await lane.close();
  close.sync(readEnd);
  close.sync(writeEnd);
});

test("lanes share idle threads, each within its own bound, until the last is closed", async () => {
  const options = { name: "test", maxThreads: 1, maxQueued: 8, threads: new ThreadStore() };
  const [one, other] = [new LongWaitLane(options), new LongWaitLane(options)];
  const { result: shared } = await one.run(gettid, []);
  assert.equal((await other.run(gettid, [])).result, shared);
  const { readEnd, writeEnd } = openPipe();
  const waiting = one.run(poll, [pollRequest(readEnd), 1, -1]);
  const { result: second } = await other.run(gettid, []);
  assert.notEqual(second, shared);
  // An idle thread does not lift the bound.
  const queued = one.run(gettid, []);
  await other.run(gettid, []);
  assert.equal(write.sync(writeEnd, Buffer.from("x"), 1).result, 1);
  assert.equal((await waiting).result, 1);
  assert.equal((await queued).result, shared);
  await one.close();
  assert.deepEqual(alive([shared, second]), [shared, second]);
  await other.close();
  assert.deepEqual(alive([shared, second]), []);
  close.sync(readEnd);
  close.sync(writeEnd);
});

test("closing interrupts what waits", async () => {
  const lane = new LongWaitLane({ name: "test", maxThreads: 2, maxQueued: 0 });
  const { readEnd, writeEnd } = openPipe();
  const waiting = lane.run(poll, [pollRequest(readEnd), 1, -1]);
  const ended = assert.rejects(
    waiting,
    (error: unknown) => error instanceof NativeError && error.code === "NATIVE_REFUSED",
  );
  await lane.close();
  await ended;
  close.sync(readEnd);
  close.sync(writeEnd);
});

const PROGRAM = `
  const { LongWaitLane } = await import(process.argv[1] + "/long-wait.ts");
  const { poll, libcFunction } = await import(process.argv[1] + "/libc.ts");
  const lane = new LongWaitLane({ name: "test", maxThreads: 1, maxQueued: 0 });
  if (process.argv[2] === "idle") await lane.run(libcFunction("int close(int fd)"), [-1]);
  else if (process.argv[2] === "unreferenced") {
    lane.run(poll, [null, 0, -1], { ref: false }).catch(() => {});
    // Once the thread waits.
    setTimeout(() => {}, 400);
  } else { lane.run(poll, [null, 0, -1]).catch(() => {}); setTimeout(() => process.exit(7), 400); }
`;

test("no idle thread, unreferenced wait or process.exit with a waiting one keeps the process", async () => {
  const run = promisify(execFile);
  const args = ["--input-type=module", "-e", PROGRAM, import.meta.dirname];
  await run(process.execPath, [...args, "idle"], { timeout: LIMIT_MS });
  await run(process.execPath, [...args, "unreferenced"], { timeout: LIMIT_MS });
  await assert.rejects(run(process.execPath, [...args, "waiting"], { timeout: LIMIT_MS }), {
    code: 7,
  });
});

test("errno has a name, a code and a hint", () => {
  assert.equal(errnoName(16), "EBUSY");
  assert.equal(errnoName(11), "EAGAIN");
  assert.equal(errnoName(95), "EOPNOTSUPP");
  assert.equal(errnoName(61), "ENODATA");
  assert.equal(errnoName(4000), "E4000");
  const error = nativeErrorFromErrno({ operation: "DM_DEV_REMOVE", object: "x", errno: 16 });
  assert.equal(error.code, "NATIVE_BUSY");
  assert.equal(error.errnoName, "EBUSY");
  assert.match(error.hint, /holders/);
  assert.equal(
    nativeErrorFromErrno({ operation: "x", object: "y", errno: 4000 }).code,
    "NATIVE_IO",
  );
});

test("a thread that wakes without a message goes on waiting: the next call is answered by its own outcome", async (t) => {
  const posted = new Int32Array(new SharedArrayBuffer(4));
  const setup: LongCallSetup = { posted: posted.buffer, memory: new SharedArrayBuffer(8) };
  const worker = new Worker(new URL("long-wait-worker.ts", import.meta.url), { workerData: setup });
  t.after(() => worker.terminate());
  const replies: LongCallReply[] = [];
  const next = async (): Promise<void> => {
    replies.push(...((await once(worker, "message")) as [LongCallReply]));
  };
  await next();
  const deadline = performance.now() + LIMIT_MS;
  while (Atomics.notify(posted, 0) === 0) assert.ok(performance.now() < deadline);
  // Until it sleeps again.
  while (Atomics.notify(posted, 0) === 0) assert.ok(performance.now() < deadline);
  const answered = next();
  const request: LongCallRequest = { calls: [{ prototype: close.prototype, args: [-1] }] };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  worker.postMessage(request);
  Atomics.add(posted, 0, 1);
  Atomics.notify(posted, 0);
  await answered;
  const outcomes = [{ result: -1, errno: ERRNO.EBADF }];
  assert.deepEqual(replies.slice(1), [{ kind: "done", outcomes }]);
});

/** Each would take a signal of its own. */
const WORKERS = 3;

test("one signal does for all threads that have this module, and for those that had it", async () => {
  const caught = (): bigint => {
    const text = readFileSync("/proc/self/status", "utf8");
    return BigInt(`0x${/^SigCgt:\t(\w+)$/m.exec(text)?.[1] ?? "0"}`);
  };
  const program = new URL("./long-wait-worker.test.support.ts", import.meta.url);
  let first: bigint | undefined;
  for (let count = 0; count < WORKERS; count += 1) {
    const [code] = (await once(new Worker(program), "exit")) as [number];
    assert.equal(code, 0);
    first ??= caught();
    assert.equal(caught(), first);
  }
});

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { NativeError } from "../errors.ts";
import { libcFunction } from "./libc.ts";
import { waitReadable } from "./readable-watch.ts";

const pipe = libcFunction("int pipe(void *fds)");
const read = libcFunction("long read(int fd, void *bytes, size_t count)");
const write = libcFunction("long write(int fd, const void *bytes, size_t count)");
const close = libcFunction("int close(int fd)");
/** What hangs hangs for ever; a machine that is busy with other tests takes its time. */
const LIMIT_MS = 60_000;

function openPipe(t: TestContext): { readonly readEnd: number; readonly writeEnd: number } {
  const fds = Buffer.alloc(8);
  assert.equal(pipe.sync(fds).result, 0);
  const ends = { readEnd: fds.readInt32LE(0), writeEnd: fds.readInt32LE(4) };
  t.after(() => {
    for (const fd of Object.values(ends)) close.sync(fd);
  });
  return ends;
}

test("woken when something comes, at once where something is there, again and again", async (t) => {
  const { readEnd, writeEnd } = openPipe(t);
  for (let round = 0; round < 3; round += 1) {
    const waiting = waitReadable(readEnd, { timeoutMs: LIMIT_MS });
    setTimeout(() => write.sync(writeEnd, Buffer.from("x"), 1), 20);
    assert.equal(await waiting, true);
    assert.equal(await waitReadable(readEnd, { timeoutMs: LIMIT_MS }), true);
    assert.equal(await waitReadable(readEnd, { timeoutMs: 0 }), true);
    assert.equal(read.sync(readEnd, Buffer.alloc(1), 1).result, 1);
    assert.equal(await waitReadable(readEnd, { timeoutMs: 0 }), false);
  }
});

test("the end of the time, an abort, and what can't be waited for", async (t) => {
  const { readEnd } = openPipe(t);
  assert.equal(await waitReadable(readEnd, { timeoutMs: 20 }), false);
  const abort = new AbortController();
  const waiting = waitReadable(readEnd, { timeoutMs: LIMIT_MS, signal: abort.signal });
  setTimeout(() => abort.abort(new Error("enough")), 20);
  await assert.rejects(waiting, /enough/);
  await assert.rejects(waitReadable(readEnd, { timeoutMs: 0, signal: abort.signal }), /enough/);
  await assert.rejects(
    waitReadable(-1, { timeoutMs: LIMIT_MS }),
    (error: unknown) => error instanceof NativeError && error.errnoName === "EBADF",
  );
});

/** Waits for what never comes. */
const WAIT = `
  async function wait(folder, ref) {
    const { waitReadable } = await import(folder + "/readable-watch.ts");
    const { libcFunction } = await import(folder + "/libc.ts");
    const fds = Buffer.alloc(8);
    libcFunction("int pipe(void *fds)").sync(fds);
    const waiting = waitReadable(fds.readInt32LE(0), { timeoutMs: 1e9, ref });
    return { waiting };
  }
`;
const UNREFERENCED = `${WAIT} await wait(process.argv[1], false);`;
const EXITS = `${WAIT} await wait(process.argv[1], true); process.exit(7);`;
const WORKER = `${WAIT}
  const { parentPort, workerData } = await import("node:worker_threads");
  await wait(workerData, true);
  parentPort.postMessage("waits");
`;
/** Terminates a thread in its wait, the only one that has koffi. */
const TERMINATES = `
  const { once } = await import("node:events");
  const { Worker } = await import("node:worker_threads");
  const worker = new Worker(${JSON.stringify(WORKER)}, { eval: true, workerData: process.argv[1] });
  await once(worker, "message");
  await worker.terminate();
`;

test("no unreferenced wait, process.exit or end of a thread in a wait holds or harms the process", async () => {
  const run = (program: string): Promise<unknown> => {
    const args = ["--input-type=module", "-e", program, import.meta.dirname];
    return promisify(execFile)(process.execPath, args, { timeout: LIMIT_MS });
  };
  await run(UNREFERENCED);
  await assert.rejects(run(EXITS), { code: 7 });
  await run(TERMINATES);
});

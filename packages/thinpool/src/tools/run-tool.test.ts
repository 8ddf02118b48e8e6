/** The runner of the tools, with small programs in their place: no root and no metadata needed. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { chmod, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, mock, test } from "node:test";
import { LinuxMetadataTools } from "./linux-metadata-tools.ts";

let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "thinpool-tools-"));
});

after(() => rm(folder, { recursive: true, force: true }));

async function toolsWith(
  program: string,
  script: string,
  options: { readonly stallMs?: number } = {},
): Promise<LinuxMetadataTools> {
  const path = join(folder, program);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return new LinuxMetadataTools({ folders: [join(folder, "none"), folder], ...options });
}

test("no environment, no shell, operands after --", async () => {
  const tools = await toolsWith("thin_check", `/usr/bin/env >&2; echo "$@" >&2; exit 64`);
  const { outcome, report } = await tools.check({ path: "/dev/x; rm -rf y", snapshot: true });
  assert.equal(outcome, "damaged");
  assert.match(report, /--metadata-snap -- \/dev\/x; rm -rf y/);
  // What sh itself sets.
  assert.deepEqual(
    report.split("\n").filter((line) => /^(?!PWD|_|OLDPWD|SHLVL)\w+=/.test(line)),
    [],
  );
});

test("a device that can't be opened, and a program that is killed, say nothing about the metadata", async () => {
  const busy = await toolsWith("thin_check", "echo 'x: Device or resource busy' >&2; exit 1");
  await assert.rejects(busy.check({ path: "/dev/x" }), { code: "POOL_TOOL_FAILED" });
  const killed = await toolsWith("thin_check", "kill -9 $$");
  await assert.rejects(killed.check({ path: "/dev/x" }), {
    code: "POOL_TOOL_FAILED",
    reason: "it was ended by SIGKILL",
  });
});

test("a program that is not there is an error of its own", async () => {
  const tools = new LinuxMetadataTools({ folders: [join(folder, "none")] });
  await assert.rejects(tools.check({ path: "/dev/x" }), { code: "POOL_TOOL_MISSING" });
  await assert.rejects(tools.usage({ path: "/dev/x" }), { code: "POOL_TOOL_MISSING" });
});

test("an abort ends the program", async () => {
  const tools = await toolsWith("thin_ls", "exec /bin/sleep 60");
  const controller = new AbortController();
  const listing = tools.usage({ path: "/dev/x", signal: controller.signal });
  setTimeout(() => controller.abort(new Error("enough")), 50);
  await assert.rejects(listing, /enough/);
});

test("a program that stands still is ended; one that works may take as long as it takes", async () => {
  const still = await toolsWith("thin_check", "exec /bin/sleep 60", { stallMs: 100 });
  await assert.rejects(still.check({ path: "/dev/x" }), {
    code: "POOL_TOOL_FAILED",
    reason: "it did nothing for 0.1 seconds",
  });
  const script = "i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done";
  const stallMs = 500;
  const busy = await toolsWith("thin_check", script, { stallMs });
  const beganAt = performance.now();
  assert.equal((await busy.check({ path: "/dev/x" })).outcome, "clean");
  assert.ok(performance.now() - beganAt > 2 * stallMs, "it was looked at more than once");
});

test("the text of a program that failed half-way is not taken for its answer", async () => {
  const tools = await toolsWith("thin_ls", "echo '1 2 3 4 5'; echo 'it broke' >&2; exit 1");
  await assert.rejects(tools.usage({ path: "/dev/x" }), {
    code: "POOL_TOOL_FAILED",
    reason: /it broke/,
  });
  const dump = await toolsWith("thin_dump", "echo '<superblock>'; exit 1");
  const file = join(folder, "dump.xml");
  await assert.rejects(dump.dump({ path: "/dev/x", file, dataBlocks: 1n }), {
    code: "POOL_TOOL_FAILED",
  });
  await assert.rejects(readFile(file), { code: "ENOENT" });
});

test("a dump is synced when it is whole, before it is said to be there", async () => {
  const tools = await toolsWith("thin_dump", `echo '<superblock nr_data_blocks="0">'; echo end`);
  const probe = await open(join(folder, "thin_dump"));
  const handle = Object.getPrototypeOf(probe) as { sync(): Promise<void> };
  await probe.close();
  const file = join(folder, "dump.xml");
  const synced: string[] = [];
  const sync = mock.method(handle, "sync", () => {
    synced.push(readFileSync(file, "utf8"));
    return Promise.resolve();
  });
  await tools.dump({ path: "/dev/x", file, dataBlocks: 9n });
  sync.mock.restore();
  assert.deepEqual(synced, [readFileSync(file, "utf8")]);
  assert.match(synced[0] ?? "", /end\n$/);
});

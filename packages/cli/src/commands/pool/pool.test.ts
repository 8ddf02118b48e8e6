/** What works on a pool itself, over the simulated kernel; tests/lab/cli-commands.test.ts: on a real one. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { createSimKernel, type SimKernel } from "@thinpool/dm-sim";
import { openPool } from "@thinpool/thinpool";
import { json, MEMORY_FOLDER, ok, refused, run } from "../../lib/in-process.test.support.ts";

/** As the daemon tells them: commands.test.ts. */
const CHECK_FIELDS = ["atMs", "findings", "findingsLeftOut", "metadata", "report"];
const HEADER_OF_BACKUPS = "NAME  TIME  TRANSACTION  SIZE";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const parents: string[] = [];
after(async () => {
  for (const parent of parents) await rm(parent, { recursive: true, force: true });
});

interface World {
  readonly kernel: SimKernel;
  readonly folder: string;
  /** The words of `pool VERB --folder …`. */
  readonly pool: (verb: string, ...more: string[]) => string[];
}

/** A pool of 64 MiB that is down, made by `pool create`, with the device "base" of 16 MiB. */
async function world(): Promise<World> {
  const parent = await mkdtemp(join(MEMORY_FOLDER, "thinpool-cli-"));
  parents.push(parent);
  const kernel = createSimKernel();
  const folder = join(parent, "pool");
  const pool = (verb: string, ...more: string[]): string[] => [
    "pool",
    verb,
    "--folder",
    folder,
    ...more,
  ];
  const sizes = ["--data-size", "64MiB", "--metadata-size", "4MiB", "--block-size", "64KiB"];
  assert.match(await ok(kernel, pool("create", ...sizes)), UUID);
  await using open = await openPool({ folder, kernel, monitor: false });
  await open.createDevice({ name: "base", sizeBytes: 16n << 20n, filesystem: "none" });
  return { kernel, folder, pool };
}

async function damage({ kernel, folder }: World, lost: readonly number[]): Promise<void> {
  const loop = await kernel.loops.attach({ backingFile: join(folder, "metadata") });
  kernel.damageMetadata(loop.path, { lost });
  await kernel.loops.detach(loop.path);
}

test("pool check: nothing wrong is 0, damage is 8 with what to do; nothing stays up", async () => {
  const w = await world();
  const { kernel, pool } = w;
  assert.equal(await ok(kernel, pool("check", "--direct")), "metadata clean, nothing is wrong");
  const report = (await json(kernel, pool("check", "--direct", "--mappings"))) as Record<
    string,
    unknown
  >;
  assert.deepEqual(Object.keys(report).toSorted(), CHECK_FIELDS);
  assert.deepEqual([report["metadata"], report["findings"]], ["clean", []]);
  await damage(w, []);
  const found = await run(kernel, pool("check", "--direct"));
  assert.match(
    found.stdout,
    /^metadata damaged, 1 found\nMETADATA_DAMAGED {2}\S+: thin_check: .+\n {4}Close the pool and repair it/,
  );
  assert.deepEqual([found.exitCode, found.stderr], [8, ""]);
  const asJson = await run(kernel, pool("check", "--direct", "--json"));
  assert.equal(asJson.exitCode, 8);
  assert.equal((JSON.parse(asJson.stdout) as { metadata: string }).metadata, "damaged");
  assert.deepEqual(await kernel.leftovers(), []);
});

test("the pool must be there, and nobody else's", async () => {
  const { kernel, folder, pool } = await world();
  const missing = { exitCode: 3, code: "POOL_NOT_FOUND" };
  const verbs = ["check", "repair", "recover", "extend", "events", "destroy", "backup"];
  for (const verb of verbs) {
    await refused(kernel, ["pool", verb, "--folder", `${folder}-no`, ...needed(verb)], missing);
  }
  const elsewhere = ["--direct", "--folder", `${folder}-no`];
  await refused(kernel, ["pool", "backup", "--list", ...elsewhere], missing);
  assert.equal(await ok(kernel, pool("backup", "--list", "--direct")), HEADER_OF_BACKUPS);
  await using open = await openPool({ folder, kernel, monitor: false });
  const locked = { exitCode: 5, code: "POOL_LOCKED" };
  for (const verb of verbs) {
    const said = await refused(kernel, pool(verb, ...needed(verb)), locked);
    // What the daemon can do, it is to be asked for; else it has to go.
    const asks = needed(verb).includes("--direct");
    assert.match(said, asks ? /Leave --direct out .* or stop / : /closed pool: stop its daemon/);
  }
  assert.match(await refused(kernel, pool("create"), locked), /choose another --folder/);
  assert.equal(open.list().length, 1);
});

test("a pool's folder that can't be: a file, one in /proc", async () => {
  const { kernel, folder } = await world();
  const create = (path: string): string[] => ["pool", "create", "--folder", path];
  const file = { exitCode: 2, code: "POOL_OPTION_INVALID" };
  await refused(kernel, create(join(folder, "pool.sqlite")), file);
  await refused(kernel, create(join(folder, "pool.sqlite/below")), file);
  // Where nothing can be made and the kernel says ENOENT: this must end.
  await refused(kernel, create("/proc/pool/deep"), { exitCode: 3, code: "POOL_NOT_FOUND" });
});

test("without a daemon, check, backup and extend say how they go all the same", async () => {
  const { kernel } = await world();
  const unreachable = { exitCode: 7, code: "DAEMON_UNREACHABLE" };
  for (const verb of ["check", "backup", "extend"]) {
    const said = await refused(kernel, ["pool", verb, "--socket", "/nowhere/sock"], unreachable);
    assert.match(said, /^Hint: Start the daemon .* as root add --direct/m);
  }
});

function needed(verb: string): string[] {
  if (verb === "extend") return ["--direct", "--data-size", "128MiB"];
  if (["events", "check", "backup"].includes(verb)) return ["--direct"];
  return verb === "destroy" ? ["--yes"] : [];
}

test("pool repair: sound, mended, and never at the cost of a device unasked", async () => {
  const w = await world();
  const { kernel, pool } = w;
  assert.equal(await ok(kernel, pool("repair")), "The metadata is sound.");
  assert.deepEqual(await json(kernel, pool("repair")), { outcome: "already-sound" });
  assert.match(
    await ok(kernel, pool("repair", "--dry-run")),
    /^would change nothing but .* clean$/,
  );
  await damage(w, []);
  assert.match(await ok(kernel, pool("repair", "--dry-run")), /^would rebuild the metadata/);
  assert.match(
    await ok(kernel, pool("repair")),
    /^Repaired; the damaged metadata is kept at \S+metadata\.damaged-\w+\.$/,
  );
  await damage(w, [0]);
  await refused(kernel, pool("repair"), { exitCode: 8, code: "POOL_NEEDS_REPAIR" });
  await refused(kernel, pool("repair", "--accept-loss"), { exitCode: 2, code: "USAGE" });
  const lost = (await json(kernel, pool("repair", "--accept-loss", "--yes"))) as {
    readonly lost: readonly string[];
  };
  assert.deepEqual(lost.lost, ["base"]);
  assert.deepEqual(await kernel.leftovers(), []);
});

test("pool recover: the plan changes nothing, then it is done and journalled", async () => {
  const w = await world();
  const { kernel, folder, pool } = w;
  assert.equal(await ok(kernel, pool("recover", "--plan")), "Opening would find all in order.");
  assert.deepEqual(await json(kernel, pool("recover")), { done: [] });
  const open = await openPool({ folder, kernel, monitor: false });
  const { device } = await open.activate({ name: "base" });
  await open.detach();
  // Somebody leaves it suspended: whoever uses it hangs.
  const live = (await kernel.dm.listDevices()).find(({ name }) => device.path.endsWith(name));
  assert.ok(live !== undefined);
  await kernel.dm.suspend({ dev: live.dev });
  const plan = await ok(kernel, pool("recover", "--plan"));
  assert.equal(plan, "would resume-dm-device base: it was left suspended: whoever uses it hangs");
  assert.equal(await ok(kernel, pool("recover", "--plan")), plan);
  assert.match(
    await ok(kernel, pool("recover")),
    /^NUMBER +TIME +ACTION +OBJECT +REASON\n +1 +\S+Z +resume-dm-device +base +it was left/,
  );
  const planned = (await json(kernel, pool("recover", "--plan"))) as {
    readonly decisions: readonly unknown[];
    readonly journal: readonly { readonly action: string }[];
  };
  assert.deepEqual(
    [planned.decisions, planned.journal.map(({ action }) => action)],
    [[], ["resume-dm-device"]],
  );
  // It was active: so it stays.
  assert.notDeepEqual(await kernel.leftovers(), []);
});

test("pool extend: files become longer; smaller, and nothing said, are refused", async () => {
  const { kernel, pool } = await world();
  assert.equal(
    await ok(kernel, pool("extend", "--direct", "--data-size", "128MiB", "--dry-run")),
    "would extend the data from 64 MiB to 128 MiB",
  );
  assert.equal(
    await ok(kernel, pool("extend", "--direct", "--data-size", "128MiB")),
    "data 128 MiB, metadata 4 MiB",
  );
  assert.deepEqual(await json(kernel, pool("extend", "--direct", "--metadata-size", "8MiB")), {
    outcome: "extended",
    dataBytes: String(128 << 20),
    metadataBytes: String(8 << 20),
  });
  assert.equal(
    await ok(kernel, pool("extend", "--direct", "--data-size", "128MiB", "--bytes")),
    `data ${128 << 20}, metadata ${8 << 20}`,
  );
  const option = { exitCode: 2, code: "POOL_OPTION_INVALID" };
  await refused(kernel, pool("extend", "--direct", "--data-size", "64MiB"), option);
  await refused(kernel, pool("extend", "--direct"), option);
  assert.deepEqual(await kernel.leftovers(), []);
});

test("pool backup and restore: named, listed, put back; what was there is kept", async () => {
  const { kernel, folder, pool } = await world();
  await refused(kernel, pool("restore", "--yes"), { exitCode: 3, code: "NO_BACKUP" });
  assert.match(
    await ok(kernel, pool("backup", "--direct", "--dry-run")),
    /^would back up .* beside 0 others$/,
  );
  const name = await ok(kernel, pool("backup", "--direct"));
  assert.match(name, /^\d{8}T\d{9}Z-t\d+$/);
  const list = await ok(kernel, pool("backup", "--direct", "--list"));
  assert.match(list, /^NAME +TIME +TRANSACTION +SIZE\n/);
  assert.ok(list.includes(name));
  const [only] = (await json(kernel, pool("backup", "--direct", "--list"))) as {
    readonly name: string;
  }[];
  assert.equal(only?.name, name);
  {
    await using open = await openPool({ folder, kernel, monitor: false });
    await open.snapshot({ origin: "base", name: "later" });
  }
  await refused(kernel, pool("restore", "never", "--yes"), { exitCode: 3, code: "NO_BACKUP" });
  assert.match(
    await refused(kernel, pool("restore"), { exitCode: 2, code: "USAGE" }),
    /give up all devices/,
  );
  assert.match(
    await ok(kernel, pool("restore", name, "--dry-run")),
    new RegExp(`^would restore backup ${name} \\(transaction \\d+\\), keeping`),
  );
  assert.match(
    await ok(kernel, pool("restore", "--yes")),
    new RegExp(`^${name}: transaction \\d+\nkept: \\S+metadata\\.\\S+\nkept: \\S+sqlite\\.\\S+$`),
  );
  await using open = await openPool({ folder, kernel, monitor: false });
  assert.deepEqual(
    open.list().map((device) => device.name),
    ["base"],
  );
});

test("pool events: numbered, from one on or after one", async () => {
  const { kernel, pool } = await world();
  const direct = (...more: string[]): string[] => pool("events", "--direct", ...more);
  const text = await ok(kernel, direct());
  assert.match(text, /^ +NUMBER +TIME +EVENT +DETAIL\n +1 +\S+Z +pool-created\n/);
  assert.match(text, /device-created +name=base deviceUuid=\S+ sizeBytes=16 MiB ownerUid=0$/m);
  assert.match(await ok(kernel, direct("--bytes")), /sizeBytes=16777216 /);
  const all = (await json(kernel, direct())) as { readonly number: number }[];
  assert.deepEqual(
    all.map(({ number }) => number),
    all.map((_, index) => index + 1),
  );
  const later = (await json(kernel, direct("--after", "1"))) as { number: number }[];
  assert.equal(later[0]?.number, 2);
  const { length } = all;
  assert.deepEqual(await json(kernel, direct("--after", String(length))), []);
  const usage = { exitCode: 2, code: "USAGE" };
  await refused(kernel, direct("--after", String(length + 1)), usage);
  await refused(kernel, direct("--follow"), usage);
});

test("pool list: down, up and who has it open; of others what the kernel says", async () => {
  const { kernel, folder, pool } = await world();
  const down = await ok(kernel, pool("list"));
  assert.match(down, /^UUID +STATE +OPEN +DATA +USED +FOLDER\n/);
  assert.match(down, new RegExp(`^[0-9a-f-]{36} +down +no +64 MiB +\\? +${folder}$`, "m"));
  await using open = await openPool({ folder, kernel, monitor: false });
  const elsewhere = ["pool", "list", "--folder", `${folder}-no`];
  const up = new RegExp(`^${open.uuid} +up +yes +64 MiB +[\\d.]+% +${folder}$`, "m");
  assert.match(await ok(kernel, pool("list")), up);
  assert.match(await ok(kernel, elsewhere), up);
  const [only, ...more] = (await json(kernel, pool("list"))) as Record<string, unknown>[];
  assert.deepEqual(more, []);
  assert.deepEqual(
    [only?.["uuid"], only?.["state"], only?.["open"], only?.["dataTotalBytes"]],
    [open.uuid, "up", true, String(64 << 20)],
  );
});

test("pool destroy says what it destroys, and takes --yes where nobody can answer", async () => {
  const { kernel, folder, pool } = await world();
  const what = new RegExp(`pool [0-9a-f-]{36} in ${folder} \\(64 MiB\\) with base`);
  assert.match(await ok(kernel, pool("destroy", "--dry-run")), what);
  assert.match(await refused(kernel, pool("destroy"), { exitCode: 2, code: "USAGE" }), what);
  const open = await openPool({ folder, kernel, monitor: false });
  const { device } = await open.activate({ name: "base" });
  await open.detach();
  const release = kernel.hold(device.path);
  await refused(kernel, pool("destroy", "--yes"), { exitCode: 5, code: "DEVICE_BUSY" });
  release();
  assert.ok(existsSync(folder));
  const { destroyed } = (await json(kernel, pool("destroy", "--yes"))) as { destroyed: string };
  assert.match(destroyed, UUID);
  assert.ok(!existsSync(folder));
  assert.deepEqual(await kernel.leftovers(), []);
  assert.equal((await ok(kernel, pool("list"))).split("\n").length, 1);
});

test("pool adopt: records for a pool that another made, and names for its devices", async () => {
  const { kernel, folder } = await world();
  const other = `${folder}-adopted`;
  const files = ["--data-file", join(folder, "data"), "--metadata-file", join(folder, "metadata")];
  const adopt = ["pool", "adopt", "--folder", other, ...files];
  await refused(kernel, adopt, { exitCode: 8, code: "POOL_MISMATCH" });
  // As if another program had made it.
  await rename(join(folder, "pool.sqlite"), join(folder, "lost"));
  assert.match(await ok(kernel, [...adopt, "--dry-run"]), /^would make records in \S+-adopted for/);
  const text = await ok(kernel, [...adopt, "--name", "0=old", "--size", "0=16MiB"]);
  assert.match(text, /^[0-9a-f-]{36}\nNAME +THIN ID +SIZE +SIZE FROM\nold +0 +16 MiB +given$/);
  await refused(kernel, adopt, { exitCode: 1, code: "POOL_EXISTS" });
  const usage = { exitCode: 2, code: "USAGE" };
  await refused(kernel, ["pool", "adopt", "--folder", `${folder}-2`], usage);
  await refused(kernel, [...adopt, "--name", "old"], usage);
  await refused(kernel, [...adopt, "--data-device", "/dev/sdb"], usage);
  await refused(kernel, ["pool", "adopt", "--folder", `${folder}-2`, ...files.slice(0, 2)], usage);
  const check = ["pool", "check", "--folder", other, "--direct"];
  assert.match(await ok(kernel, check), /^metadata clean/);
});

test("Ctrl-C ends a repair, and says what is left", async () => {
  const w = await world();
  await damage(w, []);
  const stop = w.kernel.onCall(({ operation }) => {
    if (operation === "thin_repair") process.emit("SIGINT");
  });
  const { exitCode, stderr } = await run(w.kernel, w.pool("repair"));
  stop();
  assert.equal(exitCode, 1);
  assert.match(
    stderr,
    /^Error: repair of \S+: cancelled\.\nHint: The metadata is as it was; a spare/,
  );
  assert.match(await ok(w.kernel, w.pool("repair")), /^Repaired/);
});

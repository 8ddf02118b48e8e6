/**
 * Each command of devices, images, leases, tokens, the policy and the service: as text and as JSON.
 * As programs on this machine: tests/e2e/; on a real kernel: tests/lab/.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, lstat, mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { Client } from "@thinpool/sdk";
import { bench, DEVICE_BYTES } from "../lib/daemon.test.support.ts";

const ME = process.getuid?.() ?? 0;
const UUID = /^[0-9a-f]{8}-[0-9a-f-]{27}$/;

const names = async (client: Client): Promise<string[]> =>
  (await client.list()).map(({ name }) => name).toSorted();

test("device clone: a name as text, the device as JSON; ephemeral ones are mounted at once", async () => {
  await using b = await bench();
  assert.equal(await b.ok("device", "clone", "base", "one"), "one");
  const two = (await b.json("device", "clone", "base", "two")) as Record<string, unknown>;
  assert.deepEqual(
    [two["name"], two["sizeBytes"], two["ownerUid"]],
    ["two", DEVICE_BYTES.toString(), ME],
  );
  const place = await b.ok("device", "clone", "base", "job", "--ephemeral", "--lease", "1h");
  assert.match(place, /\/job$/);
  const [mount] = await b.client.mounts();
  assert.deepEqual([mount?.path, mount?.device, mount?.holder], [place, "job", "lease"]);
  await b.ok("umount", "job");
  assert.deepEqual(await names(b.client), ["base", "one", "two"]);
  const made = (await b.json("device", "clone", "base", "job", "--ephemeral")) as {
    readonly device: { readonly ephemeral: boolean };
    readonly mount: { readonly reference: string };
  };
  assert.match(made.mount.reference, UUID);
  await b.ok("umount", made.mount.reference);
  assert.equal(
    await b.ok("device", "clone", "base", "x", "--dry-run"),
    "would make x from base (16 MiB, ext4)",
  );
  await b.refused(3, "NOT_FOUND", "device", "clone", "missing", "x");
  const taken = await b.refused(1, "EXISTS", "device", "clone", "base", "two");
  assert.match(taken, /^Error: device\.clone of two: a device of this name exists/);
  await b.refused(2, "NAME_INVALID", "device", "clone", "base", "a/b");
  await b.refused(2, "USAGE", "device", "clone", "base", "x", "--lease", "1h");
  await b.refused(2, "USAGE", "device", "clone", "base", "x", "--ephemeral", "--on-behalf-of", "7");
});

test("device clone --ephemeral: where it can't be mounted, there is no clone", async () => {
  await using b = await bench();
  const clone = ["device", "clone", "base", "job", "--ephemeral"];
  await b.refused(2, "INVALID_PARAMS", ...clone, "--at", join(b.parent, "none"));
  assert.deepEqual(await names(b.client), ["base"]);
  assert.match(await b.ok(...clone), /\/job$/);
});

test("mount: a token of the environment makes nothing of one's own read-only", async (t) => {
  await using b = await bench();
  t.after(() => {
    delete process.env["THINPOOL_TOKEN"];
  });
  await b.ok("device", "clone", "base", "mine");
  const token = await b.run("token", "create", "base", "--allow", "clone");
  process.env["THINPOOL_TOKEN"] = token.stdout.trim();
  await b.ok("mount", "mine");
  assert.deepEqual(
    (await b.client.mounts()).map(({ readOnly }) => readOnly),
    [false],
  );
  await b.ok("umount", "mine");
  // One that is typed is meant.
  await b.ok("mount", "mine", "--token", token.stdout.trim());
  assert.equal((await b.client.mounts())[0]?.readOnly, true);
});

test("device clone --on-behalf-of: it is the other's", async (t) => {
  if (ME !== 0) {
    t.skip("takes root, who may act for everybody");
    return;
  }
  await using b = await bench();
  await b.ok("image", "publish", "base");
  const other = "65533";
  await b.refused(3, "NOT_FOUND", "device", "clone", "base", "his", "--on-behalf-of", other);
  await b.refused(2, "USAGE", "device", "clone", "base", "his", "--on-behalf-of", "-1");
  // Of root himself, for whom the policy always allows it.
  const own = (await b.json("device", "clone", "base", "mine", "--on-behalf-of", "0")) as {
    readonly ownerUid: number;
  };
  assert.equal(own.ownerUid, 0);
  const mine = ["device", "remove", "mine", "--on-behalf-of"];
  assert.equal(await b.ok(...mine, "0", "--dry-run"), "would remove device mine of user 0");
  await b.refused(3, "NOT_FOUND", ...mine, other);
  assert.equal(await b.ok(...mine, "0"), "mine");
  const size = ["--size", "16MiB"];
  await b.refused(4, "FORBIDDEN", "device", "create", "his", ...size, "--on-behalf-of", other);
  assert.equal(await b.ok("device", "create", "mine", ...size, "--on-behalf-of", "0"), "mine");
});

test("a --folder that would not be looked at is refused: the daemon's pool may be another", async () => {
  await using b = await bench();
  for (const folder of [["--folder", "/srv/other"], ["--folder=/srv/other"]]) {
    for (const line of ["device remove base --yes", "device list", "pool set", "pool backup"]) {
      const said = await b.refused(2, "USAGE", ...line.split(" "), ...folder);
      assert.match(said, /--folder .*--direct/);
    }
  }
  assert.deepEqual(await names(b.client), ["base"]);
});

test("device rename, resize, revert", async () => {
  await using b = await bench();
  await b.ok("device", "clone", "base", "one");
  assert.equal(
    await b.ok("device", "rename", "one", "uno", "--dry-run"),
    "would rename one (16 MiB, ext4) to uno",
  );
  assert.equal(await b.ok("device", "rename", "one", "uno"), "uno");
  await b.refused(1, "EXISTS", "device", "rename", "uno", "base");
  await b.refused(3, "NOT_FOUND", "device", "rename", "one", "two");
  assert.equal(
    await b.ok("device", "resize", "uno", "32MiB"),
    "uno: 32 MiB, and its filesystem with it",
  );
  assert.equal(
    await b.ok("device", "resize", "uno", "32MiB"),
    "uno: 32 MiB, and its filesystem had that size already",
  );
  const resized = (await b.json("device", "resize", "uno", "48MiB")) as {
    readonly device: { readonly sizeBytes: string };
    readonly filesystem: string;
  };
  assert.deepEqual([resized.device.sizeBytes, resized.filesystem], [String(48 << 20), "grown"]);
  assert.equal(
    await b.ok("device", "resize", "uno", "64MiB", "--bytes", "--dry-run"),
    "would grow uno (48 MiB, ext4) to 67108864",
  );
  await b.refused(2, "INVALID_PARAMS", "device", "resize", "uno", "1MiB");
  await b.refused(2, "USAGE", "device", "resize", "uno", "64");

  await b.ok("device", "snapshot", "uno", "then");
  assert.equal(await b.ok("device", "revert", "uno", "then"), "uno");
  assert.equal(
    await b.ok("device", "revert", "uno", "then", "--dry-run"),
    "would revert uno (48 MiB, ext4) to then",
  );
  await b.refused(3, "NOT_FOUND", "device", "revert", "uno", "never");
  await b.ok("mount", "uno");
  const reverted = await b.refused(5, "BUSY", "device", "revert", "uno", "then");
  assert.match(
    reverted,
    /^Error: device\.revert of uno: it is mounted.*\nHint: .*then revert it\.$/m,
  );
  const renamed = await b.refused(5, "BUSY", "device", "rename", "uno", "one");
  assert.match(
    renamed,
    /^Error: device\.rename of uno: it is mounted.*\nHint: .*then rename it\.$/m,
  );
});

test("device activate and deactivate", async (t) => {
  if (ME !== 0) {
    t.skip("takes root, or a policy that lets users have block devices");
    return;
  }
  await using b = await bench();
  assert.equal(
    await b.ok("device", "activate", "base", "--dry-run"),
    "would activate base (16 MiB, ext4)",
  );
  const path = await b.ok("device", "activate", "base", "--lease", "2h");
  assert.match(path, /\/blocks\/[0-9a-f-]{36}\/0\/base$/);
  const again = (await b.json("device", "activate", "base")) as { readonly path: string };
  assert.equal(again.path, path);
  assert.deepEqual(
    (await b.client.mounts()).map(({ holder, block }) => [holder, block]),
    [
      ["lease", true],
      ["permanent", true],
    ],
  );
  await b.refused(5, "BUSY", "mount", "base");
  assert.equal(await b.ok("device", "deactivate", "base"), "base: references left: 1");
  assert.equal(await b.ok("device", "deactivate", "base"), "base: deactivated");
  await b.refused(3, "NOT_MOUNTED", "device", "deactivate", "base");
  await b.refused(3, "NOT_FOUND", "device", "activate", "missing");
});

test("pool check, backup and extend: of the daemon's pool, which goes on", async () => {
  await using b = await bench();
  const clean = "metadata clean, nothing is wrong";
  assert.equal(await b.ok("pool", "check"), clean);
  assert.equal(await b.ok("pool", "check", "--mappings"), clean);
  const report = (await b.json("pool", "check")) as object;
  const fields = ["atMs", "findings", "findingsLeftOut", "metadata", "report"];
  assert.deepEqual(Object.keys(report).toSorted(), fields);

  const would = "would back up the pool's metadata and records, beside ";
  assert.equal(await b.ok("pool", "backup", "--dry-run"), `${would}0 others`);
  const name = await b.ok("pool", "backup");
  assert.equal(await b.ok("pool", "backup", "--dry-run"), `${would}1 others`);
  const list = await b.ok("pool", "backup", "--list");
  assert.match(list, new RegExp(`^NAME .*\n${name} `));
  const made = (await b.json("pool", "backup", "--keep", "1")) as Record<string, unknown>;
  assert.deepEqual(await b.json("pool", "backup", "--list"), [made]);
  await b.refused(2, "USAGE", "pool", "backup", "--keep", "0");

  const larger = ["pool", "extend", "--data-size", "320MiB"];
  assert.equal(await b.ok(...larger, "--dry-run"), "would extend the data from 256 MiB to 320 MiB");
  assert.equal(await b.ok(...larger), "data 320 MiB, metadata 4 MiB");
  assert.deepEqual(await b.json(...larger), {
    outcome: "already-so",
    dataBytes: String(320 << 20),
    metadataBytes: String(4 << 20),
  });
  await b.refused(2, "INVALID_PARAMS", "pool", "extend", "--data-size", "64MiB");
  await b.refused(2, "INVALID_PARAMS", "pool", "extend");
  await b.refused(2, "USAGE", "pool", "check", "--direct", "--socket", "/x");
});

test("Ctrl-C leaves the daemon's check and backup, and says what is left", async () => {
  await using b = await bench();
  for (const [verb, tool, left] of [
    ["check", "thin_check", /^Error: check of the pool: cancelled\.\nHint: Nothing was changed/],
    ["backup", "thin_dump", /^Error: backup of the pool: cancelled\.\nHint: Those before are/],
  ] as const) {
    const stop = b.kernel.onCall(({ operation }) => {
      if (operation === tool) process.emit("SIGINT");
    });
    const { exitCode, stdout, stderr } = await b.run("pool", verb);
    stop();
    assert.deepEqual([exitCode, stdout], [1, ""]);
    assert.match(stderr, left);
  }
  assert.equal((await b.client.status()).state, "working");
});

test("pool events: from the daemon's log, with all that it tells the caller", async () => {
  await using b = await bench();
  const all = (await b.json("pool", "events")) as { readonly number: number; type: string }[];
  assert.deepEqual(
    all.map(({ number, type }) => `${number} ${type}`),
    ["1 pool-created", "2 device-created", "3 pool-opened"],
  );
  const lines = (await b.ok("pool", "events")).split("\n");
  assert.match(lines[0] ?? "", /^ +NUMBER {2}TIME +EVENT +DETAIL$/);
  assert.match(
    lines[2] ?? "",
    /^ +2 {2}\S+Z {2}device-created +name=base deviceUuid=\S+ sizeBytes=16 MiB ownerUid=\d+$/,
  );
  assert.match(await b.ok("pool", "events", "--bytes"), /sizeBytes=16777216 /);
  await b.ok("device", "clone", "base", "one");
  const [later, ...more] = (await b.json("pool", "events", "--after", "3")) as unknown[];
  const { type, name, sizeBytes } = later as Record<string, unknown>;
  const wanted = ["device-created", "one", DEVICE_BYTES.toString(), 0];
  assert.deepEqual([type, name, sizeBytes, more.length], wanted);
  assert.deepEqual(await b.json("pool", "events", "--after", "4"), []);
  await b.refused(2, "INVALID_PARAMS", "pool", "events", "--after", "5");
  await b.refused(2, "USAGE", "pool", "events", "--after", "-1");
  await b.refused(2, "USAGE", "pool", "events", "--follow", "--direct");
});

test("pool set: shown, changed one by one, what it would do; and what makes no sense", async (t) => {
  if (ME !== 0) {
    t.skip("takes root, or a policy that makes an administrator");
    return;
  }
  await using b = await bench();
  const shown = await b.ok("pool", "set");
  const before = [
    ["data growth", "on"],
    ["data step", "64 MiB"],
    ["data ceiling", "none"],
    ["data floor", "2.6 MiB"],
    ["metadata growth", "on"],
    ["metadata step", "4 MiB"],
    ["metadata ceiling", "none"],
    ["metadata floor", "204.8 KiB"],
    ["host reserve", "1 GiB"],
    ["overprovision", "allow"],
    ["on no space", "queue_if_no_space"],
    ["give back removed", "on"],
  ];
  assert.deepEqual(
    shown.split("\n").map((line) => line.split(/: +/)),
    before,
  );
  const words = [
    ["data growth", "off", "--data-growth"],
    ["data step", "32 MiB", "--data-step", "32MiB"],
    ["data ceiling", "1 GiB", "--data-ceiling", "1GiB"],
    ["data floor", "none", "--data-floor"],
    ["metadata growth", "off", "--metadata-growth"],
    ["metadata step", "2 MiB", "--metadata-step", "2MiB"],
    ["metadata ceiling", "16 MiB", "--metadata-ceiling", "16MiB"],
    ["metadata floor", "1 MiB", "--metadata-floor", "1MiB"],
    ["host reserve", "2 GiB", "--host-reserve", "2GiB"],
    ["overprovision", "forbid", "--overprovision"],
    ["on no space", "error_when_exhausted", "--on-no-space"],
    ["give back removed", "off", "--give-back-removed"],
  ] as const;
  for (const [index, [name, to, flag, value = to]] of words.entries()) {
    const from = before[index]?.[1];
    const dry = await b.ok("pool", "set", flag, value, "--dry-run");
    assert.equal(dry, `would set ${name} from ${from} to ${to}`);
    const after = (await b.ok("pool", "set", flag, value)).split("\n");
    assert.deepEqual(after[index]?.split(/: +/), [name, to]);
    assert.equal(await b.ok("pool", "set", flag, value, "--dry-run"), "would change nothing");
  }
  const { outcome, policy } = (await b.json("pool", "set", "--data-ceiling", "none")) as {
    readonly outcome: string;
    readonly policy: Record<string, unknown>;
  };
  assert.equal(outcome, "changed");
  assert.deepEqual(policy["dataGrowth"], { enabled: false, stepBytes: String(32 << 20) });
  assert.deepEqual(await b.json("pool", "set"), { policy });
  const again = await b.json("pool", "set", "--data-floor", "none");
  assert.deepEqual(again, { outcome: "already-so", policy });
  assert.match(
    await b.ok("pool", "set", "--overprovision", "1.5"),
    /^overprovision: +up to 1.5 times/m,
  );
  assert.match(await b.ok("pool", "set", "--bytes"), /^data step: +33554432$/m);

  const refusal = await b.refused(6, "NO_SPACE", "device", "create", "big", "--size", "1GiB");
  assert.match(refusal, /thinpool pool set --overprovision/);
  await b.ok("pool", "set", "--data-floor", "1TiB");
  assert.match(
    await b.refused(6, "NO_SPACE", "device", "clone", "base", "one"),
    /make the pool larger \(thinpool pool extend\), or lower the floor \(thinpool pool set --data-floor\)/,
  );
  const invalid = await b.refused(2, "INVALID_PARAMS", "pool", "set", "--data-step", "512B");
  assert.match(invalid, /the data's growth step of 512 bytes is out of range/);
  await b.refused(2, "INVALID_PARAMS", "pool", "set", "--overprovision", "0.5");
  await b.refused(2, "USAGE", "pool", "set", "--overprovision", "much");
  await b.refused(2, "USAGE", "pool", "set", "--data-step", "none");
  await b.refused(2, "USAGE", "pool", "set", "--data-growth", "perhaps");
});

test("device trim and diff", async () => {
  await using b = await bench();
  await b.ok("device", "clone", "base", "one");
  await b.refused(3, "NOT_MOUNTED", "device", "trim", "one");
  await b.ok("mount", "one");
  assert.equal(await b.ok("device", "trim", "one", "--dry-run"), "would trim one (16 MiB, ext4)");
  assert.match(await b.ok("device", "trim", "one"), /^one: [0-9.]+ \S+ not in use, given back$/);
  const { trimmedBytes } = (await b.json("device", "trim", "one")) as { trimmedBytes: string };
  assert.match(trimmedBytes, /^[0-9]+$/);
  await b.ok("umount", "one");
  assert.deepEqual(await b.run("device", "diff", "one", "base"), {
    exitCode: 0,
    stdout: "",
    stderr: "0 B differ.\n",
  });
  assert.deepEqual(await b.json("device", "diff", "one", "base"), {
    differentBytes: "0",
    ranges: [],
  });
  await b.refused(3, "NOT_FOUND", "device", "diff", "one", "never");
});

test("device label: set, shown, taken away; device show has them", async () => {
  await using b = await bench();
  assert.equal(
    await b.ok("device", "label", "base", "ticket=42", "team=storage"),
    "team=storage\nticket=42",
  );
  const labelled = (await b.json("device", "label", "base", "--remove", "ticket", "a=")) as {
    readonly labels: unknown;
  };
  assert.deepEqual(labelled.labels, { a: "", team: "storage" });
  assert.equal(await b.ok("device", "label", "base"), "a=\nteam=storage");
  assert.match(await b.ok("device", "show", "base"), /^labels: +a= team=storage$/m);
  assert.equal(
    await b.ok("device", "label", "base", "b=1", "--remove", "a", "--dry-run"),
    "would take label a from base\nwould set label b=1 on base",
  );
  await b.refused(2, "USAGE", "device", "label", "base", "novalue");
  await b.refused(2, "USAGE", "device", "label", "base", "a=1", "--remove", "a");
  await b.refused(2, "INVALID_PARAMS", "device", "label", "base", "a=with space");
  await b.refused(3, "NOT_FOUND", "device", "label", "missing", "a=1");
});

test("device snapshot of several: one moment, all or none", async () => {
  await using b = await bench();
  await b.ok("device", "clone", "base", "log");
  const several = ["device", "snapshot", "base", "base-1", "log", "log-1"];
  assert.equal(
    await b.ok(...several, "--dry-run"),
    "would make base-1 from base (16 MiB, ext4)\nwould make log-1 from log (16 MiB, ext4)",
  );
  assert.equal(await b.ok(...several), "base-1\nlog-1");
  const made = (await b.json("device", "snapshot", "base", "base-2", "log", "log-2")) as {
    readonly devices: readonly { readonly name: string; readonly transactionId: string }[];
    readonly pauseMs: number;
  };
  assert.equal(made.devices[0]?.transactionId, made.devices[1]?.transactionId);
  assert.equal(typeof made.pauseMs, "number");
  const before = await names(b.client);
  await b.refused(1, "EXISTS", "device", "snapshot", "base", "base-3", "log", "log-2");
  await b.refused(2, "USAGE", "device", "snapshot", "base", "base-3", "log");
  assert.deepEqual(await names(b.client), before);
});

test("images: what is published, and nothing else", async (t) => {
  if (ME !== 0) {
    t.skip("images are root's");
    return;
  }
  await using b = await bench();
  assert.match(await b.ok("image", "list"), /^NAME +SIZE +FILESYSTEM +CREATED +LABELS$/);
  await b.refused(3, "NO_IMAGE", "image", "remove", "base");
  assert.equal(await b.ok("image", "publish", "base"), "base is public");
  assert.match(await b.ok("image", "list"), /^base +16 MiB +ext4 +\S+Z +-$/m);
  const images = (await b.json("image", "list")) as readonly { readonly public: boolean }[];
  assert.deepEqual(
    images.map((image) => image.public),
    [true],
  );
  assert.match(await b.ok("image", "list", "--bytes"), /^base +16777216 /m);
  assert.equal(
    await b.ok("image", "publish", "base", "--private", "--dry-run"),
    "would let nobody but root clone base (16 MiB, ext4) any more",
  );
  assert.equal(await b.ok("image", "publish", "base", "--private"), "base is private");
  assert.deepEqual(await b.json("image", "list"), []);
  await b.ok("image", "publish", "base");
  await b.ok("device", "clone", "base", "one");
  assert.equal(
    await b.ok("image", "remove", "base", "--dry-run"),
    "would remove image base (16 MiB, ext4)",
  );
  assert.deepEqual(await b.json("image", "remove", "base"), { removed: "base" });
  assert.deepEqual(await names(b.client), ["one"]);
  await b.refused(3, "NOT_FOUND", "image", "publish", "base");
});

test("image create copies a folder, and publishes what is whole", async (t) => {
  if (ME !== 0) {
    t.skip("images are root's");
    return;
  }
  await using b = await bench();
  const from = join(b.parent, "content");
  await mkdir(from);
  await writeFile(join(from, "hello"), "hello\n");
  const create = ["image", "create", "golden", "--from-folder", from, "--size", "32MiB"];
  assert.equal(
    await b.ok(...create, "--dry-run"),
    [
      "would create device golden (32 MiB, ext4)",
      `would copy ${from} to it (1 files, 6 B)`,
      "would let others clone golden",
    ].join("\n"),
  );
  assert.equal(await b.ok(...create), "golden");
  assert.deepEqual(await b.client.mounts(), []);
  assert.equal((await b.client.get({ name: "golden" })).public, true);
  {
    await using mount = await b.client.mount({ device: "golden" });
    assert.equal(await readFile(join(mount.path, "hello"), "utf8"), "hello\n");
  }
  await b.refused(1, "EXISTS", ...create);
  const secret = (await b.json(
    ...["image", "create", "draft", "--from-folder", from, "--private", "--size", "32MiB"],
  )) as { readonly image: { readonly public?: boolean }; readonly copied: unknown };
  assert.deepEqual(
    [secret.image.public, secret.copied],
    [undefined, { bytes: "6", files: 1, specialFilesLeftOut: 0, setIdsTaken: 0 }],
  );
  const nowhere = join(b.parent, "nowhere");
  await b.refused(3, "NO_FOLDER", "image", "create", "x", "--from-folder", nowhere);
  await b.refused(2, "USAGE", "image", "create", "x");
  assert.deepEqual(await names(b.client), ["base", "draft", "golden"]);
});

test("mount: for how long, where, how", async () => {
  await using b = await bench();
  await b.ok("mount", "base", "--lease", "2h", "--read-only");
  const [lease] = await b.client.mounts();
  assert.ok(lease !== undefined);
  assert.deepEqual([lease.holder, lease.readOnly], ["lease", true]);
  assert.ok((lease.leaseLeftMs ?? 0) > 7_100_000 && (lease.leaseLeftMs ?? 0) <= 7_200_000);
  await b.ok("lease", "release", "base");
  if (ME === 0) {
    await b.ok("mount", "base", "--permanent");
    assert.equal((await b.client.mounts())[0]?.holder, "permanent");
  }
  await b.refused(2, "USAGE", "mount", "base", "--lease", "soon");
  await b.refused(2, "USAGE", "mount", "base", "--lease", "1h", "--permanent");
});

test("leases: listed by their end, renewed, released; other mounts are none", async () => {
  await using b = await bench();
  await b.ok("device", "clone", "base", "one");
  await b.ok("mount", "one", "--lease", "3h");
  await b.ok("mount", "base", "--lease", "90m");
  if (ME === 0) await b.ok("mount", "base", "--permanent");
  const list = (await b.ok("lease", "list")).split("\n");
  assert.match(list[0] ?? "", /^DEVICE +ENDS IN +OWNER +PATH +REFERENCE$/);
  assert.match(list[1] ?? "", /^base +(1h 29m|1h 30m) +\d+ +\//);
  assert.match(list[2] ?? "", /^one +(2h 59m|3h) +\d+ +\//);
  assert.equal(list.length, 3);
  assert.equal(((await b.json("lease", "list")) as unknown[]).length, 2);
  assert.match(await b.ok("lease", "renew", "one", "--for", "5h"), /^one: ends in (4h 59m|5h)$/);
  const renewed = (await b.json("lease", "renew", "one")) as { readonly leaseLeftMs: number };
  assert.ok(renewed.leaseLeftMs > 17_900_000);
  assert.match(await b.ok("lease", "renew", "one", "--dry-run"), /^would renew lease [0-9a-f-]+$/);
  assert.equal(await b.ok("lease", "release", "one"), "one: unmounted");
  await b.refused(3, "NOT_MOUNTED", "lease", "release", "one");
  await b.refused(3, "NOT_MOUNTED", "lease", "renew", "one");
  const released = (await b.json("lease", "release", "base")) as { readonly count: number };
  assert.equal(released.count, ME === 0 ? 1 : 0);
});

test("tokens: the secret alone on stdout, once; they open a device and end", async () => {
  await using b = await bench();
  const create = ["token", "create", "base", "--allow", "clone"];
  const { stdout, stderr } = await b.run(...create, "--for", "2h");
  const secret = stdout.trim();
  assert.match(secret, /^[A-Za-z0-9_-]{43}$/);
  assert.match(stderr, /^Token [0-9a-f-]{36}, until \S+Z\.\n$/);
  assert.equal(await b.ok("device", "clone", "base", "one", "--token", secret), "one");
  assert.equal(
    await b.ok(...create, "--allow", "mount-read-only", "--dry-run"),
    "would make a token for base (16 MiB, ext4) that allows clone,mount-read-only for 1h",
  );
  const token = (await b.json(...create, "--user", "1000")) as {
    readonly id: string;
    readonly uid: number;
    readonly secret: string;
  };
  assert.equal(token.uid, 1000);
  const list = await b.ok("token", "list");
  assert.match(list, /^ID +DEVICE +ALLOWS +USER +CREATOR +ENDS$/m);
  assert.match(list, new RegExp(`^${token.id} +base +clone +1000 +${ME} +\\S+Z$`, "m"));
  assert.match(list, new RegExp(`^\\S+ +base +clone +any +${ME} `, "m"));
  assert.ok(!list.includes(secret));
  assert.equal(((await b.json("token", "list")) as unknown[]).length, 2);
  assert.equal(await b.ok("token", "revoke", token.id, "--dry-run"), `would end token ${token.id}`);
  assert.equal(await b.ok("token", "revoke", token.id), token.id);
  await b.refused(3, "NOT_FOUND", "token", "revoke", token.id);
  await b.refused(2, "USAGE", "token", "create", "base");
  await b.refused(2, "USAGE", "token", "create", "base", "--allow", "remove");
  await b.refused(3, "NOT_FOUND", "token", "create", "missing", "--allow", "clone");
  await b.refused(
    2,
    "ARGUMENT_INVALID",
    "token",
    "create",
    "base",
    "--allow",
    "clone",
    "--for",
    "400d",
  );
});

test("policy test asks for every right, and names what can't be asked", async (t) => {
  if (ME !== 0) {
    t.skip("takes root");
    return;
  }
  await using b = await bench();
  assert.equal(await b.ok("policy", "test", "0", "connect"), "allowed by root");
  assert.equal(await b.ok("policy", "test", "65531", "connect"), "refused by no rule");
  const words = ["policy", "test", "65531", "on-behalf-of", "somebody"];
  assert.match(await b.refused(2, "USAGE", ...words), /"somebody" is no user's number/);
});

test("policy show: the built-in one, a file in words, and all that is wrong with one", async () => {
  await using b = await bench();
  const builtIn = await b.ok("policy", "show", "--socket-group", "users");
  assert.equal(
    builtIn,
    [
      "policy:  built in: there is no policy file",
      "root:    may do all, without limits",
      "",
      "rule:   default",
      "about:  members of users",
      "may:    see the pool's state and use their own devices; clone public images",
    ].join("\n"),
  );
  const path = join(b.parent, "policy.json");
  const file = {
    version: 1,
    rules: [
      {
        name: "ci",
        users: ["root", 1005],
        allow: { clone: { public: true, names: ["base-*"] }, onBehalfOf: "all", connect: true },
        mount: { roots: ["/srv/ci"], noExec: false, lazyUnmountAfterSeconds: 90 },
        limits: {
          devices: 50,
          virtualBytes: "1099511627776",
          mappedBytes: "10737418240",
          mounts: 20,
          leases: 10,
          holdSeconds: 14_400,
          requestsInFlight: 64,
          requestsPerSecond: 100,
          requestSeconds: 60,
        },
      },
    ],
  };
  await writeFile(path, JSON.stringify(file), { mode: 0o644 });
  const text = await b.ok("policy", "show", "--policy", path);
  assert.equal(
    text,
    [
      `policy:  ${path}`,
      "root:    may do all, without limits",
      "",
      "rule:    ci",
      "about:   users root, 1005",
      "may:     see the pool's state and use their own devices; clone public images; clone root's base-*; act in the name of everybody; make tokens to connect over TCP as themselves",
      "mounts:  on folders of their own below /srv/ci; programs; taken off 1m 30s after their end",
      "limits:  50 devices, 1 TiB of devices, 10 GiB of the pool, 20 mounts, 10 leases, leases of 4h, 64 requests at a time, 100 requests a second, calls of 1m",
    ].join("\n"),
  );
  assert.deepEqual(await b.json("policy", "show", "--policy", path), { path, ...file });
  await writeFile(path, JSON.stringify({ version: 1, rules: [{ name: "x", allow: { fly: 1 } }] }));
  assert.match(
    await b.refused(2, "POLICY_INVALID", "policy", "show", "--policy", path),
    /rules\.0\.allow/,
  );
  await writeFile(path, JSON.stringify(file));
  await chmod(path, 0o666);
  await b.refused(2, "POLICY_INVALID", "policy", "show", "--policy", path);
});

test("service: its files below another root, where systemd is told nothing", async () => {
  await using b = await bench();
  const place = ["--root", join(b.parent, "image")];
  assert.match(await b.ok("service", "status", ...place), /^installed: +no$/m);
  assert.match(
    await b.ok("service", "install", ...place, "--folder", "/srv/pool", "--dry-run"),
    /^would install thinpoold below \S+: pool \/srv\/pool, socket \S+ for group thinpool\nwould run \/\S*node .*main\.[jt]s$/,
  );
  const written = await b.ok("service", "install", ...place, "--folder", "/srv/pool");
  assert.equal(written.split("\n").length, 3);
  const unit = await readFile(join(b.parent, "image/etc/systemd/system/thinpoold.service"), "utf8");
  assert.match(unit, /^ExecStart=\/\S+node .*\/main\.[jt]s --folder \/srv\/pool --socket /m);
  assert.deepEqual(await b.json("service", "status", ...place), { installed: true });
  const removed = (await b.json("service", "uninstall", ...place)) as { removed: string[] };
  assert.equal(removed.removed.length, 3);
  assert.deepEqual(await b.json("service", "uninstall", ...place), { removed: [] });
  await b.refused(
    2,
    "OPTION_INVALID",
    "service",
    "install",
    ...place,
    "--socket-group",
    "No Group",
  );
  await b.refused(2, "OPTION_INVALID", "service", "install", ...place, "--metrics", "everywhere");
});

test("logs: where there is no journal it says where they are", async (t) => {
  await using b = await bench();
  const { exitCode, stdout, stderr } = await b.run("logs");
  if (exitCode === 0) {
    t.skip("thinpoold is a service of this machine");
    return;
  }
  assert.match(stderr, /^Error: [^\n]+\.\nHint: The log is on the stderr of/);
  assert.deepEqual([exitCode, stdout], [3, ""]);
});

test("--dry-run says what would be done, and does nothing", async () => {
  await using b = await bench();
  const before = await b.client.list();
  const plans: readonly (readonly [string, ...string[]])[] = [
    ["create device new (1 GiB, ext4)", "device", "create", "new", "--size", "1GiB"],
    ["make new from base (16 MiB, ext4)", "device", "snapshot", "base", "new"],
    ["remove device base (16 MiB, ext4)", "device", "remove", "base"],
    ["mount base (16 MiB, ext4)", "mount", "base"],
  ];
  for (const [wanted, ...args] of plans) {
    assert.equal(await b.ok(...args, "--dry-run"), `would ${wanted}`);
  }
  await b.refused(3, "NOT_FOUND", "device", "snapshot", "missing", "new", "--dry-run");
  await b.refused(2, "USAGE", "device", "create", "base", "--dry-run");
  assert.deepEqual(await b.client.list(), before);
});

test("pool status draws how full the pool is; device tree draws the lineage", async () => {
  await using b = await bench();
  await b.client.clone({ origin: "base", name: "one" });
  await b.client.clone({ origin: "one", name: "two" });
  const status = await b.ok("pool", "status");
  assert.match(status, /^data: +█+░*┊?░*\n +[\d.]+ [KM]iB of 256 MiB \(/m);
  const growth = "data by 64 MiB, no ceiling; metadata by 4 MiB, no ceiling";
  assert.match(status, new RegExp(`^growth: +${growth}\nforecast: +nothing is foreseen$`, "m"));
  const {
    uuid,
    growth: policy,
    forecast,
  } = (await b.json("pool", "status")) as {
    readonly uuid: string;
    readonly growth: unknown;
    readonly forecast: { readonly monitored: boolean; readonly data: Record<string, unknown> };
  };
  assert.equal(uuid, (await b.client.status()).uuid);
  assert.deepEqual(policy, {
    data: { enabled: true, stepBytes: String(64 << 20) },
    metadata: { enabled: true, stepBytes: String(4 << 20) },
  });
  assert.equal(forecast.monitored, true);
  assert.match(String(forecast.data["growthLimitBytes"]), /^\d+$/);
  const tree = await b.ok("device", "tree");
  assert.deepEqual(
    tree.split("\n").map((line) => line.split(/ {2,}\d/)[0]),
    ["NAME         SIZE  OWNER  ACTIVE", "base", "└─ one", "   └─ two"],
  );
});

test("tokens to connect by: the secret alone on stdout, once; listed apart, and ended alike", async () => {
  await using b = await bench();
  const { exitCode, stdout, stderr } = await b.run("token", "connect", "--for", "8h");
  assert.deepEqual([exitCode, stdout.length], [0, 44]);
  const [, id = ""] =
    /^Token (\S+) for user \d+, until \S+Z\.\n$/.exec(stderr) ?? assert.fail(stderr);
  assert.equal(
    await b.ok("token", "connect", "--user", `${ME}`, "--dry-run"),
    `would make a token to connect by as user ${ME} for 1h`,
  );
  const list = await b.ok("token", "list", "--connect");
  assert.match(list, new RegExp(`^${id} +${ME} +${ME} +\\S+Z$`, "m"));
  assert.ok(!list.includes(stdout.trim()));
  assert.deepEqual(await b.json("token", "list"), []);
  assert.equal(await b.ok("completion", "candidates", "--", "token", "revoke", ""), id);
  assert.equal(await b.ok("token", "revoke", id), id);
  assert.deepEqual(await b.json("token", "list", "--connect"), []);
});

test("completion offers devices, images and tokens", async (t) => {
  await using b = await bench();
  const complete = (...words: string[]): Promise<string> =>
    b.ok("completion", "candidates", "--", ...words, "");
  const id = ((await b.json("token", "create", "base", "--allow", "clone")) as { id: string }).id;
  assert.equal(await complete("token", "revoke"), id);
  assert.equal(await complete("device", "revert", "base"), "base");
  assert.equal(await b.ok("completion", "candidates", "--", "device", "snapshot", "ba"), "base");
  if (ME !== 0) {
    t.skip("images are root's");
    return;
  }
  assert.equal(await complete("image", "remove"), "");
  await b.ok("image", "publish", "base");
  assert.equal(await complete("image", "remove"), "base");
});

test("image create that is cancelled while its device is made leaves none", async (t) => {
  if (ME !== 0) {
    t.skip("images are root's");
    return;
  }
  await using b = await bench();
  b.kernel.onCall(({ operation, phase }) => {
    if (operation === "mkfs" && phase === "before") process.emit("SIGINT");
  });
  const create = ["image", "create", "golden", "--from-folder", b.parent, "--size", "32MiB"];
  const { exitCode, stderr } = await b.run(...create);
  assert.equal(exitCode, 1);
  assert.match(stderr, /cancelled\.\nHint: Nothing is left/);
  assert.deepEqual(await names(b.client), ["base"]);
});

test("device export writes over files only, and over what a link leads to in its place", async () => {
  await using b = await bench();
  const at = (name: string): string => join(b.parent, name);
  execFileSync("mkfifo", [at("pipe")]);
  await mkdir(at("folder"));
  for (const name of ["pipe", "folder"]) {
    const said = await b.refused(2, "USAGE", "device", "export", "base", at(name), "--force");
    assert.match(said, /no file/);
    await b.refused(2, "USAGE", "device", "export", "base", at(name));
  }
  assert.ok((await lstat(at("pipe"))).isFIFO());
  await writeFile(at("file"), "old");
  await symlink("file", at("link"));
  await b.refused(1, "FILE_EXISTS", "device", "export", "base", at("link"));
  assert.equal((await b.run("device", "export", "base", at("link"), "--force")).exitCode, 0);
  assert.ok((await lstat(at("link"))).isSymbolicLink());
  assert.ok((await readFile(at("file"))).length >= 1024);
});

test("image import: a file, compressed or not, a folder; device export: the same comes out", async () => {
  await using b = await bench();
  const at = (name: string): string => join(b.parent, name);
  await mkdir(at("tree/folder"), { recursive: true });
  await writeFile(at("tree/folder/file"), "x".repeat(100_000));
  await writeFile(at("tree/setuid"), "y", { mode: 0o4755 });
  await chmod(at("tree/setuid"), 0o4755);
  execFileSync("tar", ["-cf", at("tree.tar"), "-C", at("tree"), "."]);
  execFileSync("gzip", ["-k", at("tree.tar")]);
  const sum = execFileSync("sha256sum", [at("tree.tar.gz")], { encoding: "utf8" }).slice(0, 64);
  const size = ["--size", "16MiB"];
  const made = await b.run("image", "import", "one", at("tree.tar"), ...size, "--private");
  assert.deepEqual([made.exitCode, made.stdout], [0, "one\n"]);
  assert.match(
    made.stderr,
    /^4 entries, 1 of them without setuid or setgid; [\d.]+ KiB, SHA-256 [0-9a-f]{64}\.\n$/,
  );
  const two = (await b.json(
    ...["image", "import", "two", at("tree.tar.gz"), ...size, "--sha256", sum.toUpperCase()],
  )) as { readonly image: Record<string, unknown>; readonly content: Record<string, unknown> };
  assert.deepEqual([two.image["name"], two.content["entries"]], ["two", 4]);
  assert.equal(two.image["public"], ME === 0 ? true : undefined);
  await b.run("image", "import", "three", at("tree"), "--origin", "base");
  const archive = await b.run("device", "export", "one", at("one.tar"));
  assert.match(archive.stdout, /^[0-9a-f]{64} {2}\/.*\/one\.tar\n$/);
  assert.match(archive.stderr, /^3 entries, [\d.]+ KiB\.\n$/);
  execFileSync("sha256sum", ["--check", "--status"], { input: archive.stdout });
  await mkdir(at("out"));
  execFileSync("tar", ["-xf", at("one.tar"), "-C", at("out")]);
  execFileSync("diff", ["-r", at("tree"), at("out")]);
  const three = (await b.json("device", "export", "three", at("three.tar"))) as { entries: number };
  assert.equal(three.entries, 3);
  const dry = await b.ok("device", "export", "one", at("none.tar"), "--dry-run");
  assert.equal(dry, `would write the files of one (16 MiB, ext4) to ${at("none.tar")}`);
  assert.equal(
    await b.ok("image", "import", "four", at("tree.tar"), ...size, "--dry-run"),
    `would create device four (16 MiB, ext4)\nwould unpack ${at("tree.tar")} into it (110 KiB)`,
  );
  await b.refused(1, "FILE_EXISTS", "device", "export", "one", at("one.tar"));
  await b.run("device", "export", "one", at("one.tar"), "--force");
  await b.refused(1, "COPY_FAILED", "device", "export", "one", at("no/one.tar"));
  await b.refused(3, "NOT_FOUND", "device", "export", "none", at("none.tar"));
  await b.refused(3, "NO_ARCHIVE", "image", "import", "x", at("none.tar"));
  await b.refused(1, "EXISTS", "image", "import", "one", at("tree.tar"), ...size);
  const zeroes = "0".repeat(64);
  const wrong = ["image", "import", "x", at("tree.tar"), ...size, "--sha256"];
  await b.refused(1, "CHECKSUM_MISMATCH", ...wrong, zeroes);
  await b.refused(2, "USAGE", ...wrong, "none");
  await b.refused(2, "USAGE", "image", "import", "x", at("tree"), "--sha256", zeroes);
  await b.refused(2, "USAGE", "image", "import", "x", at("tree"), ...size, "--origin", "base");
  await writeFile(at("text"), "no archive".repeat(100));
  await b.refused(1, "ARCHIVE_REFUSED", "image", "import", "x", at("text"), ...size);
  await writeFile(at("disk.qcow2"), Buffer.from("QFI\u00fb".padEnd(4096, "x"), "latin1"));
  const disk = await b.refused(1, "COPY_FAILED", "image", "import", "x", at("disk.qcow2"), ...size);
  assert.match(disk, /it is a disk image, qcow2/);
  await writeFile(at("tree.tar.xz"), Buffer.from("\u00fd7zXZ\0".padEnd(4096, "x"), "latin1"));
  const packed = ["image", "import", "x", at("tree.tar.xz"), ...size];
  assert.match(
    await b.refused(1, "COPY_FAILED", ...packed),
    /xz -dc FILE \| thinpool image import/,
  );
  await writeFile(at("cut.gz"), (await readFile(at("tree.tar.gz"))).subarray(0, 100));
  await b.refused(1, "COPY_FAILED", "image", "import", "x", at("cut.gz"), ...size);
  assert.deepEqual(await names(b.client), ["base", "one", "three", "two"]);
  assert.deepEqual(
    (await readdir(b.parent)).filter((name) => name.endsWith(".part")),
    [],
  );
});

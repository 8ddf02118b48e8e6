import assert from "node:assert/strict";
import { chmod, chown, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { jsonLogger } from "../log.ts";
import { StartError } from "../start-error.ts";
import { LivePolicy } from "./live-policy.ts";
import { readPolicyFile } from "./policy-file.ts";
import { decide } from "./rights.ts";

let folder = "";

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "thinpool-policy-"));
});
after(() => rm(folder, { recursive: true }));

const GOOD = {
  version: 1,
  rules: [
    {
      name: "ci",
      users: ["root", 1000],
      groups: ["root"],
      allow: { clone: { public: true, names: ["base-*"] }, see: "all", onBehalfOf: [1001] },
      mount: { roots: ["/srv/ci"], noExec: true, lazyUnmountAfterSeconds: 60 },
      limits: {
        devices: 10,
        virtualBytes: "107374182400",
        mappedBytes: "0",
        holdSeconds: 3600,
        requestSeconds: 30,
      },
    },
  ],
};

async function fileWith(value: unknown, name = "policy.json"): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, typeof value === "string" ? value : JSON.stringify(value), { mode: 0o644 });
  return path;
}

async function refusal(path: string): Promise<string> {
  try {
    await readPolicyFile(path);
  } catch (error) {
    assert.ok(error instanceof StartError);
    assert.equal(error.code, "POLICY_INVALID");
    return error.reason;
  }
  return assert.fail("it was accepted");
}

test("a good file: names are numbers, seconds milliseconds, patterns anchored", async () => {
  const { policy, file } = await readPolicyFile(await fileWith(GOOD));
  assert.deepEqual(file, GOOD);
  const { rules } = policy;
  const [rule] = rules;
  assert.deepEqual(rule?.users, new Set([0, 1000]));
  assert.deepEqual(rule?.groups, new Set([0]));
  assert.equal(rule?.lazyUnmountAfterMs, 60_000);
  assert.deepEqual(rule?.limits, {
    devices: 10,
    virtualBytes: 107_374_182_400n,
    mappedBytes: 0n,
    holdMs: 3_600_000,
    requestMs: 30_000,
  });
  const who = { uid: 1000, gid: 1000, groups: [] };
  const may = (name: string): boolean =>
    decide({ rules }, who, "clone", { device: { name, ownerUid: 0, isPublic: false } }).allowed;
  assert.deepEqual(["base-1", "base-", "xbase-1", "base1"].map(may), [true, true, false, false]);
});

test("all that is wrong is said at once", async () => {
  const bad = {
    version: 1,
    rules: [
      { name: "a", users: ["no-such-user", 1000], groups: ["no-such-group"] },
      { name: "a", users: [1000] },
      { name: "b" },
    ],
  };
  const reason = await refusal(await fileWith(bad));
  for (const part of [
    /no user no-such-user/,
    /no group no-such-group/,
    /rules\.1 \(a\): an earlier rule/,
    /rules\.2 \(b\): it is about nobody/,
  ]) {
    assert.match(reason, part);
  }
  const shape = {
    version: 2,
    rules: [{ name: "x y", users: "everyone", allow: { kill: true }, limits: { devices: -1 } }],
  };
  const shapeReason = await refusal(await fileWith(shape));
  for (const part of [/version/, /rules\.0\.name/, /rules\.0\.allow\.kill/, /limits\.devices/]) {
    assert.match(shapeReason, part);
  }
});

test("paths, patterns and numbers out of bounds are refused", async () => {
  const rule = { name: "a", users: [1000] };
  const cases = [
    { ...rule, mount: { roots: ["relative"] } },
    { ...rule, mount: { roots: ["/srv/../etc"] } },
    { ...rule, mount: { roots: ["/srv/"] } },
    { ...rule, mount: { roots: ["/a\nb"] } },
    { ...rule, allow: { clone: { names: ["(a+)+"] } } },
    { ...rule, users: [-1] },
    { ...rule, users: [4_294_967_295] },
    { ...rule, limits: { requestsPerSecond: 0 } },
    { ...rule, limits: { requestSeconds: 86_401 } },
    { ...rule, limits: { virtualBytes: 5 } },
    { ...rule, limits: { mappedBytes: "-1" } },
  ];
  for (const bad of cases) {
    const reason = await refusal(await fileWith({ version: 1, rules: [bad] }));
    assert.match(reason, /^rules\.0/, JSON.stringify(bad));
  }
  for (const text of ["", "{", "[]", "null"]) await refusal(await fileWith(text));
});

test("a file that others can write, own, link or put in its place is refused", async () => {
  const path = await fileWith(GOOD, "rights.json");
  for (const mode of [0o664, 0o646, 0o666]) {
    await chmod(path, mode);
    assert.match(await refusal(path), /others can change/, mode.toString(8));
  }
  await chmod(path, 0o644);
  if (process.geteuid?.() === 0) {
    await chown(path, 1000, 0);
    assert.match(await refusal(path), /owner 1000/);
    await chown(path, 0, 0);
  }
  await symlink(path, join(folder, "link"));
  assert.match(await refusal(join(folder, "link")), /ELOOP/);
  const open = join(folder, "open");
  await mkdir(join(open, "inner"), { recursive: true });
  const inside = await fileWith(GOOD, "open/inner/policy.json");
  await readPolicyFile(inside);
  await chmod(open, 0o777);
  assert.match(await refusal(inside), /others can change .*open: .*mode 777/);
  assert.match(await refusal(join(folder, "none")), /ENOENT/);
  assert.match(await refusal(folder), /no regular file/);
});

test("re-read: a good file holds at once, a broken one changes nothing and is logged", async () => {
  const log: string[] = [];
  const path = await fileWith(GOOD, "live.json");
  const live = await LivePolicy.load(
    path,
    undefined,
    jsonLogger((line) => log.push(line)),
  );
  await fileWith({ ...GOOD, rules: [{ name: "other", users: [7] }] }, "live.json");
  await live.reload();
  assert.deepEqual(
    live.current.rules.map(({ name }) => name),
    ["other"],
  );
  await fileWith({ version: 1, rules: [{ name: "broken" }] }, "live.json");
  await live.reload();
  await chmod(path, 0o666);
  await live.reload();
  assert.deepEqual(
    live.current.rules.map(({ name }) => name),
    ["other"],
  );
  assert.equal(log.filter((line) => line.includes("policy-refused")).length, 2);
  await rm(path);
  await assert.rejects(
    LivePolicy.load(
      path,
      undefined,
      jsonLogger(() => undefined),
    ),
    {
      code: "POLICY_INVALID",
    },
  );
});

test("without a file: the group of the socket clones public images, nobody else has a rule", async () => {
  const logger = jsonLogger(() => undefined);
  const { current } = await LivePolicy.load(undefined, 200, logger);
  const image = { device: { name: "a", ownerUid: 0, isPublic: true } };
  const member = { uid: 1000, gid: 1, groups: [200] };
  assert.equal(decide(current, member, "clone", image).allowed, true);
  assert.equal(decide(current, member, "create", undefined).allowed, false);
  assert.equal(decide(current, { ...member, groups: [] }, "use", undefined).allowed, false);
  assert.deepEqual((await LivePolicy.load(undefined, undefined, logger)).current.rules, []);
});

test("of two readings that overlap the later one holds", async () => {
  const [rule] = GOOD.rules;
  const many = Array.from({ length: 1000 }, (_, index) => ({ ...rule, name: `rule-${index}` }));
  const path = await fileWith(GOOD, "twice.json");
  const live = await LivePolicy.load(
    path,
    undefined,
    jsonLogger(() => undefined),
  );
  for (let turns = 0; turns < 10; turns += 1) {
    await fileWith({ version: 1, rules: many }, "twice.json");
    const first = live.reload();
    // Once it has the old file open it reads that one, whatever is put in its place.
    for (let turn = 0; turn < turns; turn += 1) await setImmediate();
    await rename(await fileWith({ version: 1, rules: [] }, "twice.new"), path);
    await Promise.all([first, live.reload()]);
    assert.equal(live.current.rules.length, 0, `after ${turns} turns`);
  }
});

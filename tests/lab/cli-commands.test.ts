/** The command line's verbs on a real kernel: as root, as uid 1000, and a stranger with a token. */
import assert from "node:assert/strict";
import { chmod, chown, lstat, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { cliWorld, run, STRANGER, USER } from "./cli-world.ts";
import { kernelState } from "./kernel-state.ts";

const MIB = 1 << 20;

const untouched = kernelState();
const w = await cliWorld();
const { scratch, folder, env, ok, json, refused } = w;
const policy = join(scratch, "policy.json");

suite("the verbs of thinpool on a real kernel", () => {
  before(async () => {
    // By their numbers: the machine has no account of theirs, which would say their groups.
    const rule = {
      name: "testers",
      users: [USER.uid, STRANGER.uid],
      allow: { clone: { public: true } },
    };
    await writeFile(policy, JSON.stringify({ version: 1, rules: [rule] }), { mode: 0o644 });
    const sizes = ["--data-size", "512MiB", "--metadata-size", "8MiB", "--low-water", "16MiB"];
    await ok(["pool", "create", ...sizes]);
    await w.serve(["--policy", policy]);
  });

  after(async () => {
    await w[Symbol.asyncDispose]();
    assert.deepEqual(kernelState(), untouched);
  });

  test("image create: a folder with all that comes along, and what doesn't", async () => {
    // On ext4, which has users' extended attributes and device nodes.
    await ok(["device", "create", "source", "--size", "64MiB"]);
    const source = await ok(["mount", "source"]);
    const from = join(source, "root");
    await mkdir(join(from, "sub"), { recursive: true });
    await writeFile(join(from, "sub", "file"), "content", { mode: 0o640 });
    await chown(join(from, "sub", "file"), 1234, 4321);
    await writeFile(join(from, "program"), "#!/bin/sh\n");
    await chmod(join(from, "program"), 0o6755);
    const script = "import os,sys; os.setxattr(sys.argv[1], 'user.origin', b'here')";
    await run("python3", ["-c", script, join(from, "program")]);
    await run("mknod", [join(from, "disk"), "b", "7", "0"]);
    await run("mkfifo", [join(from, "pipe")]);

    await refused(4, ["image", "create", "base", "--from-folder", "/tmp"], { user: USER });
    const made = await json<{ readonly copied: Record<string, unknown> }>([
      ...["image", "create", "base", "--from-folder", from, "--size", "64MiB"],
    ]);
    assert.deepEqual([made.copied["specialFilesLeftOut"], made.copied["setIdsTaken"]], [2, 1]);
    await ok(["umount", "source"]);
    await ok(["device", "remove", "source"]);

    const place = await ok(["mount", "base", "--read-only"]);
    assert.deepEqual((await readdir(place)).toSorted(), ["lost+found", "program", "sub"]);
    const file = await lstat(join(place, "sub", "file"));
    assert.deepEqual([file.uid, file.gid, file.mode & 0o7777], [1234, 4321, 0o640]);
    assert.equal((await lstat(join(place, "program"))).mode & 0o7777, 0o755);
    const read = "import os,sys; print(os.getxattr(sys.argv[1], 'user.origin').decode())";
    const { stdout } = await run("python3", ["-c", read, join(place, "program")]);
    assert.equal(stdout, "here\n");
    await ok(["umount", "base"]);
    assert.match(await ok(["image", "list"], { user: USER }), /^base +64 MiB +ext4 /m);
    // A folder that does not fit leaves nothing.
    const large = join(scratch, "large");
    await mkdir(large);
    await writeFile(join(large, "file"), Buffer.alloc(16 * MIB, 1));
    const small = ["image", "create", "small", "--from-folder", large, "--size", "8MiB"];
    assert.match(await refused(1, small), /No space left|tar/);
    await refused(3, ["device", "show", "small"]);
    assert.deepEqual(await json(["mounts"]), []);
  });

  test("a user: ephemeral clones, labels, sizes, snapshots of one moment, going back", async () => {
    const as = { user: USER };
    const place = await ok(["device", "clone", "base", "job", "--ephemeral", "--lease", "1h"], as);
    assert.equal((await lstat(join(place, "program"))).uid, USER.uid);
    assert.match(await ok(["lease", "list"], as), /^job +(59m|1h)/m);
    assert.match(await ok(["lease", "renew", "job", "--for", "2h"], as), /^job: ends in/);
    assert.equal(await ok(["lease", "release", "job"], as), "job: unmounted");
    await refused(3, ["device", "show", "job"], as);

    assert.equal(await ok(["device", "clone", "base", "mine"], as), "mine");
    assert.equal(await ok(["device", "label", "mine", "team=storage"], as), "team=storage");
    assert.equal(await ok(["device", "rename", "mine", "own"], as), "own");
    const own = await ok(["mount", "own"], as);
    await w.writeAs(USER, join(own, "note"), "before");
    await refused(5, ["device", "rename", "own", "mine"], as);
    const sizeBefore = Number(
      (await run("df", ["--output=size", "-B1", own])).stdout.split("\n")[1],
    );
    assert.match(await ok(["device", "resize", "own", "96MiB"], as), /^own: 96 MiB, and its/);
    const grown = Number((await run("df", ["--output=size", "-B1", own])).stdout.split("\n")[1]);
    assert.ok(grown > sizeBefore + 16 * MIB, `${sizeBefore} to ${grown}`);
    const several = ["device", "snapshot", "own", "own-1", "base", "base-1"];
    assert.equal(await ok(several, as), "own-1\nbase-1");
    await w.writeAs(USER, join(own, "note"), "after");
    await refused(5, ["device", "revert", "own", "own-1", "--yes"], as);
    await ok(["umount", "own"], as);
    assert.equal(await ok(["device", "revert", "own", "own-1", "--yes"], as), "own");
    const again = await ok(["mount", "own"], as);
    assert.equal(await readFile(join(again, "note"), "utf8"), "before");
    await ok(["umount", "own"], as);
    await refused(4, ["image", "publish", "own"], as);
    await refused(4, ["mount", "own", "--at", join(scratch, "socket")], as);
  });

  test("image import and device export: root's image, a user's copy, and what is refused", async () => {
    const tree = join(scratch, "tree");
    await mkdir(join(tree, "sub"), { recursive: true });
    await writeFile(join(tree, "sub", "file"), "x".repeat(3 * MIB));
    await run("tar", ["-czf", join(scratch, "tree.tar.gz"), "-C", tree, "."]);
    const archive = join(scratch, "tree.tar.gz");
    await run("chmod", ["-R", "a+rX", tree, archive]);
    assert.equal(await ok(["image", "import", "packed", archive, "--size", "64MiB"]), "packed");
    assert.match(await ok(["image", "list"], { user: USER }), /^packed +64 MiB +ext4 /m);
    const as = { user: USER };
    const made = await json<{ readonly content: { readonly entries: number } }>(
      ["image", "import", "own-tree", tree, "--origin", "packed"],
      as,
    );
    assert.equal(made.content.entries, 2);
    await refused(4, ["image", "import", "new", archive], as);
    const out = join(scratch, "out");
    await mkdir(out);
    await chown(out, USER.uid, USER.gid);
    const file = join(out, "own.tar");
    const said = await ok(["device", "export", "own-tree", file], as);
    await run("tar", ["-xf", file, "-C", out]);
    assert.equal(await readFile(join(out, "sub", "file"), "utf8"), "x".repeat(3 * MIB));
    const { stdout } = await run("sha256sum", [file]);
    assert.equal(said, stdout.trimEnd());
    await refused(1, ["device", "export", "own-tree", file], as);
    await run("tar", ["-cf", join(scratch, "devices.tar"), "-C", "/dev", "null"]);
    const refusal = await refused(1, ["image", "import", "devices", join(scratch, "devices.tar")]);
    assert.match(refusal, /"null": it is a device node/);
    await ok(["device", "remove", "own-tree", "--yes"], as);
    await ok(["image", "remove", "packed", "--yes"]);
    assert.deepEqual(await json(["mounts"]), []);
  });

  test("a token lets a stranger clone, and mount read-only, until it is revoked", async () => {
    const [as, other] = [{ user: USER }, { user: STRANGER }];
    await refused(3, ["device", "clone", "own", "his"], other);
    const token = await json<{ readonly id: string; readonly secret: string }>(
      [
        "token",
        "create",
        "own",
        "--allow",
        "clone",
        "--allow",
        "mount-read-only",
        "--user",
        "1001",
      ],
      as,
    );
    const withToken = { ...other, env: { ...env, THINPOOL_TOKEN: token.secret } };
    assert.equal(await ok(["device", "clone", "own", "his"], withToken), "his");
    const place = await ok(["mount", "own", "--lease", "1h"], withToken);
    await assert.rejects(w.writeAs(STRANGER, join(place, "x"), ""), /EROFS/);
    await ok(["umount", "own"], other);
    assert.match(await ok(["token", "list"], as), new RegExp(`^${token.id} +own `, "m"));
    await refused(3, ["token", "revoke", token.id], other);
    await ok(["token", "revoke", token.id], as);
    await refused(3, ["device", "clone", "own", "his-2"], withToken);
    await ok(["device", "remove", "his"], other);
  });

  test("the policy: shown from its file, and asked about others by root", async () => {
    const shown = await ok(["policy", "show", "--policy", policy], { user: USER });
    assert.match(shown, /^about: +users 1000, 1001$/m);
    assert.equal(await ok(["policy", "test", "1000", "clone", "base"]), "allowed by testers");
    assert.equal(await ok(["policy", "test", "1000", "remove", "base"]), "refused by no rule");
    await refused(4, ["policy", "test", "1000", "use"], { user: USER });
  });

  test("on behalf of another: root may, a user may not", async () => {
    await ok(["device", "clone", "base", "given", "--on-behalf-of", "1000"]);
    await ok(["device", "remove", "given"], { user: USER });
    await refused(4, ["device", "clone", "base", "x", "--on-behalf-of", "1001"], { user: USER });
  });

  test("with a daemon on it the pool is its alone, and nobody but root gets near", async () => {
    for (const verb of ["recover", "repair"]) {
      assert.match(await refused(5, ["pool", verb]), /^Hint: This takes a closed pool: stop its /m);
    }
    for (const verb of ["check", "backup", "events"]) {
      assert.match(await refused(5, ["pool", verb, "--direct"]), /^Hint: Leave --direct out to /m);
    }
    await refused(5, ["pool", "destroy", "--yes"]);
    assert.equal(await ok(["pool", "check", "--mappings"]), "metadata clean, nothing is wrong");
    const backup = await ok(["pool", "backup"]);
    assert.match(await ok(["pool", "backup", "--list"]), new RegExp(`^${backup} `, "m"));
    assert.equal(
      await ok(["pool", "extend", "--data-size", "640MiB"]),
      "data 640 MiB, metadata 8 MiB",
    );
    assert.match(await ok(["pool", "list"]), new RegExp(`up +yes +640 MiB .* ${folder}$`, "m"));
    await refused(4, ["pool", "list"], { user: USER });
    await refused(4, ["pool", "check"], { user: USER });
    await refused(4, ["pool", "events", "--direct"], { user: USER });
  });

  test("pool events: each is told what is his to see, by the same numbers", async () => {
    interface Event {
      readonly number: number;
      readonly type: string;
      readonly name?: string;
    }
    const all = await json<readonly Event[]>(["pool", "events"]);
    assert.deepEqual(
      all.slice(0, 2).map(({ number, type }) => `${number} ${type}`),
      ["1 pool-created", "2 pool-opened"],
    );
    const source = all.find(({ type, name }) => type === "device-created" && name === "source");
    const own = all.find(({ type, name }) => type === "device-renamed" && name === "own");
    assert.ok(source !== undefined && own !== undefined);
    const seen = await json<readonly Event[]>(["pool", "events"], { user: USER });
    assert.deepEqual(
      seen.find(({ number }) => number === own.number),
      own,
    );
    assert.ok(!seen.some(({ number, name }) => number === source.number || name === "source"));
    const later = ["pool", "events", "--after", String(own.number - 1)];
    assert.match(
      await ok(later, { user: USER }),
      /^ *NUMBER .*\n +\d+ +\S+ +device-renamed +name=own /,
    );
    await refused(2, ["pool", "events", "--after", "1000000"]);
  });

  test("without one: checked, backed up, extended, restored, destroyed", async () => {
    await w.stop();
    assert.equal(await ok(["pool", "check", "--direct"]), "metadata clean, nothing is wrong");
    assert.match(await ok(["pool", "events", "--direct"]), /device-created +name=own-1 /);
    assert.match(await ok(["pool", "recover", "--plan"]), /^Opening would find all in order\./);
    assert.equal(await ok(["pool", "recover"]), "All was in order.");
    const backup = await ok(["pool", "backup", "--direct"]);
    assert.equal(
      await ok(["pool", "extend", "--direct", "--data-size", "768MiB"]),
      "data 768 MiB, metadata 8 MiB",
    );
    // With --direct the daemon's commands work as well.
    await ok(["device", "clone", "base", "later", "--direct"]);
    assert.match(await ok(["device", "list", "--direct"]), /^later /m);
    assert.match(await ok(["pool", "restore", "--yes"]), new RegExp(`^${backup}: transaction`));
    assert.doesNotMatch(await ok(["device", "list", "--direct"]), /^later /m);
    assert.equal(await ok(["pool", "repair"]), "The metadata is sound.");
    assert.match(await ok(["pool", "list"]), /down +no +768 MiB/);
    assert.match(await refused(2, ["pool", "destroy"]), /with .*base/);
    await ok(["pool", "destroy", "--yes"]);
    await refused(3, ["pool", "check", "--direct"]);
    assert.deepEqual(await json(["pool", "list"]), []);
  });
});

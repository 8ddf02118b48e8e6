/** Hostile archives: each is refused with the entry's name, and nothing outside the folder is touched. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { chmod, lstat, mkdtemp, readFile, readlink, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { RequestError } from "../errors.ts";
import type { Wanted } from "../tar/archive.test.support.ts";
import { archiveOf, entryOf, inPieces } from "../tar/archive.test.support.ts";
import { TAR_END } from "../tar/writer.ts";
import { MAX_DEPTH, MAX_NAME_BYTES } from "./paths.ts";
import { unpackTree } from "./unpack.ts";
import type { UnpackLimits, Unpacked } from "./unpack.ts";

const parent = await mkdtemp(join(tmpdir(), "unpack-"));
after(() => rm(parent, { recursive: true }));
const SECRET = "nobody's but mine";
let worlds = 0;

interface World {
  /** The folder that is unpacked into. */
  readonly root: string;
  /** Beside it, with a file "secret". */
  readonly outside: string;
}

function world(): World {
  worlds += 1;
  const [root, outside] = ["root", "outside"].map((name) => join(parent, String(worlds), name));
  assert.ok(root !== undefined && outside !== undefined);
  for (const folder of [root, outside]) mkdirSync(folder, { recursive: true });
  writeFileSync(join(outside, "secret"), SECRET);
  return { root, outside };
}

async function unpack({ root }: World, ...entries: readonly Wanted[]): Promise<Unpacked> {
  return unpackTree(root, inPieces(archiveOf(...entries)));
}

async function refused(
  where: World,
  entries: readonly Wanted[],
  expected: { readonly object: string; readonly reason: RegExp; readonly code?: string },
  limits?: UnpackLimits,
): Promise<void> {
  const work = unpackTree(where.root, inPieces(archiveOf(...entries)), limits);
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof RequestError, String(error));
    assert.equal(error.code, expected.code ?? "ARCHIVE_REFUSED");
    assert.equal(error.description.object, expected.object);
    assert.match(error.description.reason, expected.reason);
    return true;
  });
  await untouched(where);
}

async function untouched({ outside, root }: World): Promise<void> {
  assert.deepEqual(readdirSync(outside), ["secret"]);
  assert.equal(await readFile(join(outside, "secret"), "utf8"), SECRET);
  assert.equal((await stat(join(outside, "secret"))).nlink, 1);
  assert.deepEqual(readdirSync(join(root, "..")).toSorted(), ["outside", "root"]);
}

test("files, folders, links, modes and times are made as the archive says", async () => {
  const w = world();
  const unpacked = await unpack(
    w,
    { type: "folder", path: "./", mode: 0o750, mtimeSeconds: 1000 },
    { type: "folder", path: "./closed/", mode: 0o555, mtimeSeconds: 2000 },
    { path: "./closed/file", body: "x".repeat(100_000), mode: 0o640, mtimeSeconds: 3000 },
    { path: "implied/deep/file", body: "y" },
    { type: "symlink", path: "implied/out", linkPath: "/etc/passwd", mtimeSeconds: 4000 },
    { type: "hard link", path: "implied/same", linkPath: "closed/file" },
    { type: "folder", path: "tmp", mode: 0o1777 },
  );
  assert.deepEqual(unpacked, { entries: 7, withoutSetId: 0 });
  const at = (path: string): string => join(w.root, path);
  const facts = async (path: string): Promise<readonly number[]> => {
    const { mode, mtimeMs } = await lstat(at(path));
    return [mode & 0o7777, mtimeMs / 1000];
  };
  assert.deepEqual(await facts(""), [0o750, 1000]);
  assert.deepEqual(await facts("closed"), [0o555, 2000]);
  assert.deepEqual(await facts("closed/file"), [0o640, 3000]);
  assert.equal((await facts("implied/out"))[1], 4000);
  assert.equal((await facts("tmp"))[0], 0o1777);
  assert.equal((await facts("implied/deep"))[0], 0o755);
  assert.equal(await readFile(at("implied/same"), "utf8"), "x".repeat(100_000));
  assert.equal((await stat(at("implied/same"))).nlink, 2);
  assert.equal(await readlink(at("implied/out")), "/etc/passwd");
  await untouched(w);
});

test("no path leads out: absolute, or with `..` anywhere", async () => {
  for (const path of [
    "/etc/x",
    "//x",
    "../outside/x",
    "a/../../outside/x",
    "a/..",
    "..",
    "./../x",
  ]) {
    const reason = path.startsWith("/") ? /absolute/ : /"\.\."/;
    await refused(world(), [{ path, body: "x" }], { object: JSON.stringify(path), reason });
    await refused(world(), [{ type: "folder", path }], { object: JSON.stringify(path), reason });
  }
});

test("no device nodes, pipes, or what nobody knows", async () => {
  for (const [flag, reason] of [
    ["3", /device node/],
    ["4", /device node/],
    ["6", /pipe/],
    ["S", /not known/],
    ["V", /not known/],
    ["D", /not known/],
  ] as const) {
    const w = world();
    await refused(w, [{ path: "a/node", flag }], { object: '"a/node"', reason });
    assert.equal(existsSync(join(w.root, "a/node")), false, flag);
  }
});

test("set-id bits are left off, and counted", async () => {
  const w = world();
  const { withoutSetId } = await unpack(
    w,
    { path: "u", mode: 0o4755 },
    { path: "g", mode: 0o2755 },
    { path: "s", mode: 0o1644 },
    { type: "folder", path: "d", mode: 0o6755 },
  );
  assert.equal(withoutSetId, 2);
  for (const [path, mode] of [
    ["u", 0o755],
    ["g", 0o755],
    ["s", 0o1644],
    ["d", 0o755],
  ] as const) {
    assert.equal((await stat(join(w.root, path))).mode & 0o7777, mode, path);
  }
});

test("a symlink is never gone through: no file, folder or link beneath it, or in its place", async () => {
  const link = (outside: string): Wanted => ({ type: "symlink", path: "out", linkPath: outside });
  const reason = /symbolic link/;
  for (const [path, more] of [
    ["out/file", {}],
    ["out/deep/file", {}],
    ["out/folder", { type: "folder" }],
    ["out/link", { type: "symlink", linkPath: "x" }],
    ["out/hard", { type: "hard link", linkPath: "mine" }],
  ] as const) {
    const w = world();
    const entries = [{ path: "mine" }, link(w.outside), { path, ...more }];
    await refused(w, entries, { object: JSON.stringify(path), reason });
  }
  for (const path of ["out", "out/"]) {
    const w = world();
    const entries = [link(w.outside), { type: "folder", path, mode: 0o700 } as const];
    await refused(w, entries, { object: JSON.stringify(path), reason });
    assert.equal((await stat(w.outside)).mode & 0o777, 0o755);
  }
  // In place of the link itself; what it leads to stays.
  const w = world();
  const secret = join(w.outside, "secret");
  await unpack(w, link(secret), { path: "out", body: "own", mode: 0o600, mtimeSeconds: 5 });
  assert.equal(await readFile(join(w.root, "out"), "utf8"), "own");
  await untouched(w);
  assert.notEqual((await stat(secret)).mtimeMs, 5000);
});

test("what somebody puts in a folder's place meanwhile is not gone through", async () => {
  const w = world();
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield entryOf({ type: "folder", path: "d/inner" });
    yield entryOf({ path: "other/file", body: "x" });
    renameSync(join(w.root, "d"), join(w.root, "away"));
    symlinkSync(w.outside, join(w.root, "d"));
    yield entryOf({ path: "d/file", body: "x" });
    yield TAR_END;
    await Promise.resolve();
  };
  await assert.rejects(unpackTree(w.root, source()), { code: "ARCHIVE_REFUSED" });
  await untouched(w);
  // Nor when its mode is set, at the end.
  const late = world();
  const swapped = async function* (): AsyncGenerator<Uint8Array> {
    yield entryOf({ type: "folder", path: "d", mode: 0o777, mtimeSeconds: 7 });
    yield entryOf({ path: "other/file", body: "x" });
    renameSync(join(late.root, "d"), join(late.root, "away"));
    symlinkSync(late.outside, join(late.root, "d"));
    yield TAR_END;
    await Promise.resolve();
  };
  await assert.rejects(unpackTree(late.root, swapped()), { code: "ARCHIVE_REFUSED" });
  assert.equal((await stat(late.outside)).mode & 0o777, 0o755);
  await untouched(late);
});

test("a hard link leads to a file of the tree, not over a symlink, not out", async () => {
  const hard = (linkPath: string): Wanted => ({ type: "hard link", path: "link", linkPath });
  const object = '"link"';
  for (const to of ["/etc/passwd", "../outside/secret", "a/../../outside/secret"]) {
    await refused(world(), [hard(to)], { object, reason: /out of the tree/ });
  }
  const w = world();
  const out = { type: "symlink", path: "out", linkPath: w.outside } as const;
  await refused(w, [out, hard("out/secret")], { object, reason: /symbolic link/ });
  await refused(world(), [hard("later")], { object, reason: /not in the archive before it/ });
  await refused(world(), [hard("no/folder")], { object, reason: /not in the archive before it/ });
  await refused(world(), [{ path: "link" }, hard("link")], { object, reason: /to itself/ });
  await refused(world(), [hard("./")], { object, reason: /top of the tree/ });
  const folder = { type: "folder", path: "d" } as const;
  await refused(world(), [folder, hard("d")], { object, reason: /can't be linked to/ });
  // A link to a symlink is one more name of that symlink.
  const named = world();
  const secret = join(named.outside, "secret");
  await unpack(named, { type: "symlink", path: "s", linkPath: secret }, hard("s"));
  assert.equal(await readlink(join(named.root, "link")), secret);
  await untouched(named);
});

test("names and depths have limits, and so have the numbers of entries and folders", async () => {
  const long = "n".repeat(MAX_NAME_BYTES + 1);
  const quoted = (text: string): string => JSON.stringify(`${text.slice(0, 160)}…`);
  await refused(world(), [{ path: long }], { object: quoted(long), reason: /longer than 255/ });
  const deep = `${"d/".repeat(MAX_DEPTH)}f`;
  await refused(world(), [{ path: deep }], { object: quoted(deep), reason: /deeper than/ });
  const wide = `${`${"w".repeat(250)}/`.repeat(17)}f`;
  await refused(world(), [{ path: wide }], { object: quoted(wide), reason: /longer than 4095/ });
  const object = "the archive";
  const many = [{ path: "a" }, { path: "b" }, { path: "c" }];
  const limits = { entries: 2, folders: 2 };
  await refused(world(), many, { object, reason: /more than 2 entries/ }, limits);
  const folders = [{ path: "a/b/c/file" }];
  await refused(world(), folders, { object, reason: /more than 2 folders/ }, limits);
  await unpackTree(world().root, inPieces(archiveOf({ path: "a/b/file" })), limits);
  const target = "t".repeat(4096);
  const link = { type: "symlink", path: "l", linkPath: target } as const;
  await refused(world(), [link], { object: '"l"', reason: /a path of 4096 bytes/ });
  const nowhere = { path: "l", flag: "2" };
  await refused(world(), [nowhere], { object: '"l"', reason: /a path of 0 bytes/ });
  await refused(world(), [{ path: "./", flag: "2" }], { object: '"./"', reason: /only a folder/ });
});

test("a later entry takes the place of an earlier one, never of a folder; over what is there", async () => {
  const w = world();
  mkdirSync(join(w.root, "kept/inner"), { recursive: true });
  writeFileSync(join(w.root, "kept/mine"), "before");
  await chmod(join(w.root, "kept"), 0o500);
  await unpack(
    w,
    { path: "kept/mine", body: "after" },
    { path: "twice", body: "first" },
    { type: "symlink", path: "twice", linkPath: "x" },
    { path: "twice", body: "last" },
  ).catch((error: unknown) => {
    // A folder that its owner has closed is closed to everybody but root.
    if (process.getuid?.() === 0) throw error;
  });
  assert.equal(await readFile(join(w.root, "kept/mine"), "utf8"), "after");
  assert.equal(await readFile(join(w.root, "twice"), "utf8"), "last");
  const folder = [{ type: "folder", path: "d" } as const, { path: "d" }];
  await refused(world(), folder, { object: '"d"', reason: /a folder is in its place/ });
  const file = [{ path: "f" }, { path: "f/inner" }];
  await refused(world(), file, { object: '"f/inner"', reason: /no folder/ });
});

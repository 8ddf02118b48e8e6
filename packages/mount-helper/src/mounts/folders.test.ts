import assert from "node:assert/strict";
import fs, { chmod, lstat, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "node:test";
import { RequestError } from "../errors.ts";
import { MountFolders, checkAncestors } from "./folders.ts";

const OWNER = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
const NONE: ReadonlySet<string> = new Set();

async function place(t: TestContext): Promise<{ parent: string; folders: MountFolders }> {
  const parent = await mkdtemp(join(tmpdir(), "thinpool-folders-"));
  t.after(() => rm(parent, { recursive: true, force: true }));
  return { parent, folders: new MountFolders(join(parent, "run", "mounts")) };
}

function refused(code: "BUSY" | "INTERNAL"): (error: unknown) => boolean {
  return (error) => error instanceof RequestError && error.code === code;
}

test("root 0711, user 0700, and a target that is made anew each time", async (t) => {
  const { folders } = await place(t);
  await folders.prepareRoot();
  await folders.prepareRoot();
  assert.equal((await lstat(folders.root)).mode & 0o7777, 0o711);
  const target = await folders.makeTarget(OWNER, "one", NONE);
  assert.equal(target, join(folders.root, String(OWNER.uid), "one"));
  const user = join(target, "..");
  assert.equal((await lstat(user)).mode & 0o7777, 0o700);
  await chmod(user, 0o777);
  assert.equal(await folders.makeTarget(OWNER, "one", NONE), target);
  assert.equal((await lstat(user)).mode & 0o7777, 0o700);
  assert.equal(await folders.removeTarget(target), "removed");
  assert.equal(await folders.removeTarget(target), "removed");
});

const ANOTHER = { uid: 4242, gid: 4242 };
const ROOT_ONLY = process.geteuid?.() === 0 ? false : "only root gives folders away";

test(
  "a user's first mounts at one moment do not get in each other's way",
  {
    skip: ROOT_ONLY,
  },
  async (t) => {
    const { folders } = await place(t);
    await folders.prepareRoot();
    const names = Array.from({ length: 20 }, (_, index) => `device-${index}`);
    await Promise.all(names.map((name) => folders.makeTarget(ANOTHER, name, NONE)));
    assert.equal((await lstat(join(folders.root, "4242"))).uid, ANOTHER.uid);
  },
);

test(
  "a folder that is given away between two looks at it is its user's",
  {
    skip: ROOT_ONLY,
  },
  async (t) => {
    const { folders } = await place(t);
    await folders.prepareRoot();
    // The daemon died before it gave it away.
    await mkdir(join(folders.root, "4242"));
    const { readdir } = fs;
    const replace = (by: unknown): void => {
      Reflect.set(fs, "readdir", by);
      syncBuiltinESMExports();
    };
    t.after(() => replace(readdir));
    let looks = 0;
    replace(async (path: string) => {
      looks += 1;
      if (looks === 1) await folders.makeTarget(ANOTHER, "two", NONE);
      return readdir(path);
    });
    await folders.makeTarget(ANOTHER, "one", NONE);
    assert.equal(looks, 2);
    assert.deepEqual((await readdir(join(folders.root, "4242"))).toSorted(), ["one", "two"]);
  },
);

test(
  "a user's folder that a crash left empty is given away, any other of root's is not",
  {
    skip: ROOT_ONLY,
  },
  async (t) => {
    const { folders } = await place(t);
    await folders.prepareRoot();
    const folder = join(folders.root, "4242");
    await mkdir(join(folder, "full"), { recursive: true });
    await assert.rejects(folders.makeTarget(ANOTHER, "one", NONE), refused("INTERNAL"));
    await rm(join(folder, "full"), { recursive: true });
    await folders.makeTarget(ANOTHER, "one", NONE);
    assert.equal((await lstat(folder)).uid, ANOTHER.uid);
  },
);

test("what its user put in the target's place is left alone, and refused", async (t) => {
  const { parent, folders } = await place(t);
  await folders.prepareRoot();
  const target = await folders.makeTarget(OWNER, "one", NONE);
  await writeFile(join(target, "file"), "");
  await assert.rejects(folders.makeTarget(OWNER, "one", NONE), refused("BUSY"));
  assert.equal(await folders.removeTarget(target), "left");
  await rm(target, { recursive: true });
  await mkdir(join(parent, "elsewhere"));
  await symlink(join(parent, "elsewhere"), target);
  await assert.rejects(folders.makeTarget(OWNER, "one", NONE), refused("BUSY"));
  await rm(target);
  for (const path of [target, join(target, "..")]) {
    await assert.rejects(folders.makeTarget(OWNER, "one", new Set([path])), refused("BUSY"));
  }
});

test("a symlink on the way, or a folder that others can change, is refused", async (t) => {
  const { parent, folders } = await place(t);
  await mkdir(join(parent, "real"));
  await symlink(join(parent, "real"), join(parent, "run"));
  await assert.rejects(folders.prepareRoot());
  await assert.rejects(checkAncestors(join(parent, "run", "mounts")), refused("INTERNAL"));
  await rm(join(parent, "run"));
  await mkdir(join(parent, "run"));
  await chmod(join(parent, "run"), 0o777);
  await assert.rejects(checkAncestors(join(parent, "run", "mounts")), refused("INTERNAL"));
  await symlink(join(parent, "real"), join(parent, "real", "mounts"));
  await assert.rejects(new MountFolders(join(parent, "real", "mounts")).prepareRoot());
});

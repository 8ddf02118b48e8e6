import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readlinkSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { closeDescriptor } from "./descriptor.ts";
import { openFolderWithoutSymlinks } from "./openat2.ts";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "openat2-")));
after(() => rmSync(folder, { recursive: true }));

test("a folder is opened, by the path that was meant", async () => {
  const fd = await openFolderWithoutSymlinks(folder);
  assert.equal(readlinkSync(`/proc/self/fd/${fd}`), folder);
  await closeDescriptor(fd);
});

test("symlinks, magic links, files and nothing are told apart", async () => {
  const real = join(folder, "real");
  mkdirSync(join(real, "inner"), { recursive: true });
  const link = join(folder, "link");
  symlinkSync(real, link);
  for (const path of [link, join(link, "inner"), "/proc/self/cwd", "/proc/self/fd/0"]) {
    await assert.rejects(openFolderWithoutSymlinks(path), {
      code: "NATIVE_INVALID",
      errnoName: "ELOOP",
    });
  }
  await assert.rejects(openFolderWithoutSymlinks("/etc/passwd"), { errnoName: "ENOTDIR" });
  await assert.rejects(openFolderWithoutSymlinks(join(folder, "none")), {
    code: "NATIVE_NOT_FOUND",
  });
  await assert.rejects(openFolderWithoutSymlinks(`${folder}\0x`), { code: "NATIVE_INVALID" });
});

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { inPieces } from "../tar/archive.test.support.ts";
import { packTree } from "./pack.ts";
import type { Packed } from "./pack.ts";
import { unpackTree } from "./unpack.ts";

const parent = await mkdtemp(join(tmpdir(), "pack-"));
after(() => rm(parent, { recursive: true }));

async function packed(root: string): Promise<Packed & { readonly bytes: Buffer }> {
  const archive = packTree(root);
  const parts: Uint8Array[] = [];
  for (;;) {
    const next = await archive.next();
    if (next.done === true) return { ...next.value, bytes: Buffer.concat(parts) };
    parts.push(next.value);
  }
}

function tree(name: string): string {
  const root = join(parent, name);
  mkdirSync(join(root, "folder/empty"), { recursive: true });
  writeFileSync(join(root, "folder/file"), "x".repeat(300_000), { mode: 0o4750 });
  writeFileSync(join(root, `folder/${"ä".repeat(120)}`), "long");
  symlinkSync("/etc/passwd", join(root, "out"));
  linkSync(join(root, "folder/file"), join(root, "second"));
  mkdirSync(join(root, "lost+found"));
  execFileSync("mkfifo", [join(root, "pipe")]);
  return root;
}

test("GNU tar reads what is written, and the same tree is the same archive", async () => {
  const root = tree("gnu");
  const { bytes, entries, left } = await packed(root);
  assert.deepEqual([entries, left], [6, 1]);
  const file = join(parent, "gnu.tar");
  writeFileSync(file, bytes);
  const into = join(parent, "gnu-out");
  mkdirSync(into);
  execFileSync("tar", ["-xf", file, "-C", into]);
  execFileSync("diff", ["-r", "--no-dereference", "-x", "pipe", "-x", "lost+found", root, into]);
  const listed = execFileSync("tar", ["--numeric-owner", "-tvf", file], { encoding: "utf8" });
  assert.match(listed, /^-rwxr-x--- 0\/0 +300000 .* folder\/file$/m);
  assert.match(listed, / second link to folder\/file$/m);
  assert.deepEqual((await packed(root)).bytes, bytes);
});

test("what GNU tar writes is unpacked, and packed again, the same", async () => {
  const root = tree("round");
  for (const format of ["gnu", "pax"]) {
    const made = execFileSync(
      "tar",
      [`--format=${format}`, "--exclude=pipe", "--exclude=lost+found", "-cf", "-", "-C", root, "."],
      { maxBuffer: 1 << 26 },
    );
    const into = join(parent, `round-${format}`);
    mkdirSync(into);
    const { withoutSetId } = await unpackTree(into, inPieces(made, 100_000));
    assert.equal(withoutSetId, 1);
    const seconds = 1_000_000;
    // Of the top only the first has been told.
    for (const top of [root, into]) utimesSync(top, seconds, seconds);
    execFileSync("diff", ["-r", "--no-dereference", "-x", "pipe", "-x", "lost+found", root, into]);
    assert.equal((await readFile(join(into, "second"))).length, 300_000);
  }
});

test("a file that shrinks while it is read ends it: no archive has other bytes than it says", async () => {
  const root = join(parent, "shrinks");
  mkdirSync(root);
  const file = join(root, "file");
  writeFileSync(file, Buffer.alloc(2 << 20));
  const archive = packTree(root);
  await archive.next();
  truncateSync(file, 1000);
  await assert.rejects(
    async () => {
      for await (const _part of archive);
    },
    { code: "BUSY" },
  );
});

test("a name that is no UTF-8 is refused, not written as another one", async () => {
  const root = join(parent, "latin");
  mkdirSync(root);
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xe4])]), "x");
  await assert.rejects(packed(root), { code: "UNSUPPORTED" });
});

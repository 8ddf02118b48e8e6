import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../errors.ts";
import { archiveOf, entryOf, inPieces, metaOf, paxOf, summed } from "./archive.test.support.ts";
import { BLOCK_BYTES } from "./entry.ts";
import { MAX_META_BYTES, MAX_METAS_PER_ENTRY, MAX_TRAILING_BYTES, readTar } from "./reader.ts";
import { TAR_END } from "./writer.ts";

interface Seen {
  readonly type: string;
  readonly path: string;
  readonly linkPath: string;
  readonly mtimeSeconds: number;
  readonly body: string;
}

async function seen(archive: Uint8Array, pieceBytes?: number): Promise<readonly Seen[]> {
  const entries: Seen[] = [];
  for await (const entry of readTar(inPieces(archive, pieceBytes))) {
    const parts: Uint8Array[] = [];
    for await (const part of entry.body) parts.push(part);
    const { type, path, linkPath, mtimeSeconds } = entry;
    entries.push({ type, path, linkPath, mtimeSeconds, body: Buffer.concat(parts).toString() });
  }
  return entries;
}

async function refused(archive: Uint8Array, reason: RegExp, object?: string): Promise<void> {
  await assert.rejects(seen(archive), (error) => {
    assert.ok(error instanceof RequestError, String(error));
    assert.equal(error.code, "ARCHIVE_REFUSED");
    assert.match(error.description.reason, reason);
    if (object !== undefined) assert.equal(error.description.object, object);
    return true;
  });
}

const AT = 1_700_000_000;

test("entries come back as they were written, however the stream is cut", async () => {
  const archive = archiveOf(
    { type: "folder", path: "a/" },
    { path: "a/b", body: "x".repeat(1500) },
    { type: "symlink", path: "a/s", linkPath: "../b" },
    { type: "hard link", path: "a/h", linkPath: "a/b" },
    { path: `${"ä".repeat(90)}/${"b".repeat(120)}`, body: "" },
  );
  const expected = [
    { type: "folder", path: "a/", linkPath: "", mtimeSeconds: AT, body: "" },
    { type: "file", path: "a/b", linkPath: "", mtimeSeconds: AT, body: "x".repeat(1500) },
    { type: "symlink", path: "a/s", linkPath: "../b", mtimeSeconds: AT, body: "" },
    { type: "hard link", path: "a/h", linkPath: "a/b", mtimeSeconds: AT, body: "" },
    {
      type: "file",
      path: `${"ä".repeat(90)}/${"b".repeat(120)}`,
      linkPath: "",
      mtimeSeconds: AT,
      body: "",
    },
  ];
  for (const size of [1, 7, 511, 512, 513, 100_000]) {
    assert.deepEqual(await seen(archive, size), expected, `${size} bytes at a time`);
  }
});

test("what pax and GNU headers say counts for the next entry, and for that one only", async () => {
  const archive = Buffer.concat([
    metaOf("g", "20 comment=of-all-x\n"),
    paxOf({ path: "long/ä", mtime: "12.5", "SCHILY.xattr.user.x": "\u0001\0\u0002", size: "3" }),
    // The size in the header is none that ustar has room for.
    entryOf({ path: "short", body: "abc" }),
    metaOf("L", "by-gnu\0"),
    metaOf("K", "to-gnu\0"),
    entryOf({ type: "symlink", path: "short", linkPath: "x" }),
    entryOf({ path: "plain", body: "" }),
    TAR_END,
  ]);
  const entries = await seen(archive);
  assert.deepEqual(
    entries.map(({ path, linkPath, mtimeSeconds }) => [path, linkPath, mtimeSeconds]),
    [
      ["long/ä", "", 12.5],
      ["by-gnu", "to-gnu", AT],
      ["plain", "", AT],
    ],
  );
});

test("a body that nobody reads is passed over; the last part of the stream is read to its end", async () => {
  const archive = archiveOf({ path: "a", body: "x".repeat(5000) }, { path: "b", body: "y" });
  let read = 0;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of inPieces(Buffer.concat([archive, Buffer.alloc(9216)]))) {
      read += piece.length;
      yield piece;
    }
  };
  const paths: string[] = [];
  for await (const { path } of readTar(counted())) paths.push(path);
  assert.deepEqual(paths, ["a", "b"]);
  assert.equal(read, archive.length + 9216);
});

test("names of ustar with a prefix; GNU's own magic has none", async () => {
  const header = Buffer.from(entryOf({ path: "name" }));
  header.write("some/folder", 345);
  const gnu = Buffer.from(header);
  gnu.write("ustar  \0", 257);
  const both = Buffer.concat([summed(header), summed(gnu), TAR_END]);
  assert.deepEqual(
    (await seen(both)).map(({ path }) => path),
    ["some/folder/name", "name"],
  );
});

test("numbers in base 256, negative times included", async () => {
  const header = Buffer.from(entryOf({ path: "old" }));
  header.fill(0xff, 136, 148).writeInt32BE(-5, 144);
  const large = Buffer.from(entryOf({ path: "size", body: "abc" }));
  large.fill(0, 124, 136).writeUInt8(0x80, 124);
  large.writeUInt32BE(3, 132);
  const head = summed(large.subarray(0, BLOCK_BYTES));
  const archive = Buffer.concat([summed(header), head, large.subarray(BLOCK_BYTES), TAR_END]);
  const [old, size] = await seen(archive);
  assert.equal(old?.mtimeSeconds, -5);
  assert.equal(size?.body, "abc");
});

test("what is no archive, or breaks off anywhere, is refused", async () => {
  const archive = archiveOf({ path: "a", body: "x".repeat(600) });
  await refused(Buffer.alloc(0), /ends in the middle/);
  for (let end = 1; end < archive.length - TAR_END.length + BLOCK_BYTES; end += 97) {
    await refused(archive.subarray(0, end), /ends in the middle/);
  }
  await refused(Buffer.from("\u001f\u008b".padEnd(2048, "x"), "latin1"), /no tar archive/);
  await refused(Buffer.alloc(2048, 0xff), /no tar archive/);
  const damaged = Buffer.from(archive);
  damaged[0] = 0x62;
  await refused(damaged, /checksum/);
  await refused(Buffer.concat([metaOf("L", "name\0"), TAR_END]), /is the last one/);
});

test("headers that say what can't be are refused", async () => {
  const after = (meta: Buffer): Buffer => Buffer.concat([meta, archiveOf({ path: "a" })]);
  await refused(after(metaOf("x", "9999 path=a\n")), /pax header that is none/);
  await refused(after(metaOf("x", "12 path=a\n")), /pax header that is none/);
  await refused(after(metaOf("x", "x path=a\n")), /pax header that is none/);
  await refused(after(metaOf("x", "8 =abcd\n")), /pax header that is none/);
  await refused(after(paxOf({ path: "a\0b" })), /NUL/);
  await refused(after(paxOf({ size: "-1" })), /a size/);
  await refused(after(paxOf({ size: "1e3" })), /a size/);
  await refused(after(paxOf({ mtime: "soon" })), /a time/);
  await refused(after(metaOf("L", Buffer.from([0xff, 0xfe]))), /not UTF-8/);
  const negative = Buffer.from(entryOf({ path: "a" }));
  negative.fill(0xff, 124, 136);
  await refused(summed(negative), /a size of -1/);
  const digits = Buffer.from(entryOf({ path: "a" }));
  digits.write("12z", 124);
  await refused(summed(digits), /no number/);
  const vast = Buffer.from(entryOf({ path: "a" }));
  vast.fill(0x7f, 124, 136).writeUInt8(0x80, 124);
  await refused(summed(vast), /a size of/);
});

test("a sparse file of GNU's is refused by its name, not written as what it is not", async () => {
  const archive = Buffer.concat([
    paxOf({ path: "disk.img", "GNU.sparse.major": "1" }),
    archiveOf({ path: "x" }),
  ]);
  await refused(archive, /sparse/, '"disk.img"');
});

test("headers have their limits: their size, their number, and what follows the end", async () => {
  const large = Buffer.from(entryOf({ path: "m", flag: "x" }));
  large.write(`${(MAX_META_BYTES + 1).toString(8).padStart(11, "0")}\0`, 124);
  await refused(summed(large), /a header of 1048577 bytes/);
  const metas = Array.from({ length: MAX_METAS_PER_ENTRY + 1 }, () => metaOf("L", "n\0"));
  await refused(Buffer.concat([...metas, archiveOf({ path: "a" })]), /too many headers/);
  const most = Buffer.concat([...metas.slice(1), archiveOf({ path: "a" })]);
  assert.equal((await seen(most)).length, 1);
  const padded = Buffer.concat([archiveOf({ path: "a" }), Buffer.alloc(MAX_TRAILING_BYTES + 1)]);
  await assert.rejects(seen(padded, 1 << 20), { code: "ARCHIVE_REFUSED" });
});

import assert from "node:assert/strict";
import { open, readFile, stat, writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { LinuxBlockDevices } from "@thinpool/dm-native";
import { MIB, run, runAsUser, Workspace } from "./native-fixture.ts";

let work: Workspace;
const blocks = new LinuxBlockDevices();

before(async () => {
  work = await Workspace.create();
});
after(async () => {
  await blocks.close();
  await work.remove();
});

test("size, sector size and number", async () => {
  const { loops } = work;
  const { path, dev } = await loops.attach({ backingFile: await work.sparseFile(3 * MIB) });
  assert.equal(await blocks.sizeBytes(path), BigInt(3 * MIB));
  assert.equal(await blocks.logicalSectorBytes(path), 512);
  assert.deepEqual(await blocks.number(path), dev);
  assert.equal(await loops.detach(path), "detached");
});

test("zero-out and discard act on the range and on nothing else", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(4 * MIB);
  await writeFile(backingFile, Buffer.alloc(4 * MIB, 0xaa));
  const { path } = await loops.attach({ backingFile });
  await blocks.zeroOut(path, { offsetBytes: BigInt(MIB), lengthBytes: 8192n });
  const usedBefore = (await stat(backingFile)).blocks;
  await blocks.discard(path, { offsetBytes: BigInt(2 * MIB), lengthBytes: BigInt(MIB) });
  await blocks.flush(path);
  await assert.rejects(blocks.flush(backingFile), { code: "NATIVE_INVALID" });
  assert.equal(await loops.detach(path), "detached");
  const bytes = await readFile(backingFile);
  assert.ok(bytes.subarray(MIB, MIB + 8192).every((byte) => byte === 0));
  assert.ok(bytes.subarray(2 * MIB, 3 * MIB).every((byte) => byte === 0));
  assert.equal(bytes[MIB - 1], 0xaa);
  assert.equal(bytes[MIB + 8192], 0xaa);
  assert.equal(bytes[3 * MIB], 0xaa);
  assert.ok((await stat(backingFile)).blocks < usedBefore, "the discard made a hole");
});

test("a range that does not fit is refused, and nothing of it is cleared", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(MIB);
  await writeFile(backingFile, Buffer.alloc(MIB, 0xaa));
  const { path } = await loops.attach({ backingFile });
  for (const range of [
    { offsetBytes: 0n, lengthBytes: BigInt(MIB) + 512n },
    { offsetBytes: BigInt(MIB), lengthBytes: 512n },
    // Its end is past what the kernel counts in, and would come out as 4096.
    { offsetBytes: 1n << 63n, lengthBytes: (1n << 63n) + 4096n },
    { offsetBytes: -512n, lengthBytes: 512n },
    { offsetBytes: 1n, lengthBytes: 512n },
    { offsetBytes: 0n, lengthBytes: 100n },
    { offsetBytes: 0n, lengthBytes: 0n },
  ]) {
    const refusal = { code: "NATIVE_INVALID", message: /inside its 1048576 bytes/ };
    await assert.rejects(blocks.discard(path, range), refusal);
    await assert.rejects(blocks.zeroOut(path, range), refusal);
  }
  await blocks.flush(path);
  assert.equal(await loops.detach(path), "detached");
  assert.deepEqual(await readFile(backingFile), Buffer.alloc(MIB, 0xaa));
});

test("what the kernel does not clear says why, and is not left open", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(MIB);
  const range = { offsetBytes: 0n, lengthBytes: 4096n };
  const { path } = await loops.attach({ backingFile, readOnly: true });
  const refusal = { code: "NATIVE_PERMISSION", object: path };
  await assert.rejects(blocks.discard(path, range), refusal);
  await assert.rejects(blocks.zeroOut(path, range), refusal);
  // A device that is open is detached at its last close only.
  assert.equal(await loops.detach(path), "detached");
  await assert.rejects(blocks.discard("/dev/mapper/none", range), { code: "NATIVE_NOT_FOUND" });
  await assert.rejects(blocks.discard("/dev/mapper/control", range), { code: "NATIVE_INVALID" });
});

test("what real tools write is recognised, on the file and on the device", async () => {
  const { loops } = work;
  const tools: readonly (readonly [string, readonly string[]])[] = [
    ["ext4", ["/usr/sbin/mkfs.ext4", "-q"]],
    ["ext3", ["/usr/sbin/mkfs.ext3", "-q"]],
    ["ext2", ["/usr/sbin/mkfs.ext2", "-q"]],
    ["xfs", ["/usr/sbin/mkfs.xfs", "-q"]],
    ["swap", ["/usr/sbin/mkswap", "-q"]],
  ];
  for (const [type, [program = "", ...args]] of tools) {
    const backingFile = await work.sparseFile(320 * MIB);
    assert.equal(await blocks.signature(backingFile), undefined);
    await run(program, ...args, backingFile);
    assert.equal((await blocks.signature(backingFile))?.type, type);
    const { path } = await loops.attach({ backingFile, readOnly: true });
    assert.equal((await blocks.signature(path))?.type, type);
    assert.equal(await loops.detach(path), "detached");
  }
});

test("the metadata of a thin pool, as the kernel wrote it, is recognised", async () => {
  const { loops } = work;
  const meta = await loops.attach({ backingFile: await work.sparseFile(4 * MIB) });
  const data = await loops.attach({ backingFile: await work.sparseFile(16 * MIB) });
  const name = `signature-${process.pid}`;
  const table = `0 32768 thin-pool ${meta.path} ${data.path} 128 0`;
  await run("/usr/sbin/dmsetup", "create", name, "--noudevsync", "--table", table);
  try {
    assert.equal(await blocks.inUse(meta.path), true, "part of another device");
  } finally {
    await run("/usr/sbin/dmsetup", "remove", "--noudevsync", name);
  }
  assert.deepEqual(await blocks.signature(meta.path), {
    type: "thin-pool metadata",
    offsetBytes: 32n,
  });
  assert.equal(await blocks.signature(data.path), undefined);
  for (const { path } of [meta, data]) assert.equal(await loops.detach(path), "detached");
});

test("in use: mounted or opened exclusively, not merely opened", async () => {
  const { loops, mounts } = work;
  const { path } = await work.filesystem("ext4", 16 * MIB);
  assert.equal(await blocks.inUse(path), false);
  const user = await open(path, "r");
  assert.equal(await blocks.inUse(path), false);
  await user.close();
  const target = await work.subfolder("used");
  await mounts.mount({ source: path, type: "ext4", target, flags: {} });
  assert.equal(await blocks.inUse(path), true);
  await mounts.unmount(target);
  assert.equal(await blocks.inUse(path), false);
  assert.equal(await loops.detach(path), "detached");
});

test("what is no block device is refused, by every method", async () => {
  const file = await work.sparseFile(MIB);
  const range = { offsetBytes: 0n, lengthBytes: 512n };
  for (const path of [file, "/dev/null", work.folder]) {
    await assert.rejects(blocks.number(path), { code: "NATIVE_INVALID" });
    await assert.rejects(blocks.sizeBytes(path), { code: "NATIVE_INVALID" });
    await assert.rejects(blocks.logicalSectorBytes(path), { code: "NATIVE_INVALID" });
    await assert.rejects(blocks.inUse(path), { code: "NATIVE_INVALID" });
    await assert.rejects(blocks.discard(path, range), { code: "NATIVE_INVALID" });
  }
  await assert.rejects(blocks.signature("/dev/null"), { code: "NATIVE_INVALID" });
  await assert.rejects(blocks.sizeBytes(`${work.folder}/none`), { code: "NATIVE_NOT_FOUND" });
});

test("an unprivileged user is refused", async () => {
  const { loops } = work;
  const { path } = await loops.attach({ backingFile: await work.sparseFile(MIB) });
  const { code, stdout, stderr } = await runAsUser(
    `import { LinuxBlockDevices, NativeError } from "@thinpool/dm-native";`,
    `try {
       await new LinuxBlockDevices().sizeBytes(process.argv[1]);
     } catch (error) {
       if (!(error instanceof NativeError)) throw error;
       console.log(error.code);
     }`,
    path,
  );
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim(), "NATIVE_PERMISSION");
  assert.equal(await loops.detach(path), "detached");
});

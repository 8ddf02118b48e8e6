/** The conformance cases on the kernel that runs this test. Needs root, dm-thin and loop. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { after } from "node:test";
import { LinuxBlockDevices, LinuxDeviceMapper, LinuxLoopDevices } from "@thinpool/dm-native";
import { LinuxMetadataTools } from "@thinpool/thinpool";
import { thinPoolConformance } from "../conformance/thin-pool.ts";

/** The page cache of a block device ends with its last close: each call opens it anew. */
async function withDevice<T>(
  path: string,
  flags: "r" | "r+",
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await open(path, flags);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/** One for all cases: its first message to a pool starts a thread, longer than most cases take. */
const dm = new LinuxDeviceMapper();
after(() => dm[Symbol.asyncDispose]());

thinPoolConformance(async (run) => {
  const suffix = `conf-${process.pid}-${randomBytes(3).toString("hex")}`;
  const folder = await mkdtemp(`/tmp/${suffix}-`);
  const loops = new LinuxLoopDevices();
  const blocks = new LinuxBlockDevices();
  try {
    await run({
      dm,
      loops,
      tools: new LinuxMetadataTools(),
      folder,
      suffix,
      read: (path, offset, length) =>
        withDevice(path, "r", async (file) => {
          const bytes = Buffer.alloc(length);
          const { bytesRead } = await file.read(bytes, 0, length, offset);
          assert.equal(bytesRead, length, "the device gave only a part");
          return bytes;
        }),
      write: (path, offset, bytes) =>
        withDevice(path, "r+", async (file) => {
          await file.write(bytes, 0, bytes.length, offset);
          await file.datasync();
        }),
      discard: (path, offset, length) =>
        blocks.discard(path, { offsetBytes: BigInt(offset), lengthBytes: BigInt(length) }),
      flush: (path) => blocks.flush(path),
      hold: async (path) => {
        const file = await open(path, "r");
        return () => file.close();
      },
    });
    const left = (await dm.listDevices()).filter((device) => device.name.endsWith(suffix));
    assert.deepEqual(left, [], "dm devices were left");
    const bound = (await loops.list()).filter((loop) => loop.backingFile.includes(suffix));
    assert.deepEqual(bound, [], "loop devices were left");
  } finally {
    await blocks.close();
    await loops.close();
    await rm(folder, { recursive: true });
  }
});

/** The conformance cases on the kernel that runs this test. Needs root, dm-thin and loop. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { mkdtemp, open, rm } from "node:fs/promises";
import { LinuxBlockDevices, LinuxDeviceMapper, LinuxLoopDevices } from "@thinpool/dm-native";
import { thinPoolConformance } from "../conformance/thin-pool.ts";

/** Past the page cache: what is read and counted is what the targets have. */
async function withDevice<T>(
  path: string,
  flags: number,
  use: (file: Awaited<ReturnType<typeof open>>) => Promise<T>,
): Promise<T> {
  const file = await open(path, flags | constants.O_DIRECT);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/** O_DIRECT wants its memory aligned: a page of slack in front. */
const ALIGNMENT = 4096;

thinPoolConformance(async (run) => {
  const suffix = `conf-${process.pid}-${randomBytes(3).toString("hex")}`;
  const folder = await mkdtemp(`/tmp/${suffix}-`);
  await using dm = new LinuxDeviceMapper();
  const loops = new LinuxLoopDevices();
  const blocks = new LinuxBlockDevices();
  try {
    await run({
      dm,
      loops,
      folder,
      suffix,
      read: (path, offset, length) =>
        withDevice(path, constants.O_RDONLY, async (file) => {
          const bytes = Buffer.from(new ArrayBuffer(length + ALIGNMENT), 0, length);
          await file.read(bytes, 0, length, offset);
          return Buffer.from(bytes);
        }),
      write: (path, offset, bytes) =>
        withDevice(path, constants.O_RDWR, async (file) => {
          const { bytesWritten } = await file.write(bytes, 0, bytes.length, offset);
          assert.equal(bytesWritten, bytes.length, "the device took only a part");
        }),
      discard: (path, offset, length) =>
        blocks.discard(path, { offsetBytes: BigInt(offset), lengthBytes: BigInt(length) }),
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
    await loops.close();
    await rm(folder, { recursive: true });
  }
});

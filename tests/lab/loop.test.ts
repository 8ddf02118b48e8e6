import assert from "node:assert/strict";
import { open, rename, rm, stat, truncate } from "node:fs/promises";
import { after, before, test } from "node:test";
import { LinuxBlockDevices, LinuxLoopDevices } from "@thinpool/dm-native";
import {
  firstOutput,
  MIB,
  outcomeOf,
  run,
  runAsUser,
  startModule,
  Workspace,
} from "./native-fixture.ts";

let work: Workspace;
const blocks = new LinuxBlockDevices();

before(async () => {
  work = await Workspace.create();
});
after(async () => {
  await blocks.close();
  await work.remove();
});

for (const legacyConfigure of [false, true]) {
  const way = legacyConfigure ? "LOOP_SET_FD and LOOP_SET_STATUS64" : "LOOP_CONFIGURE";
  const loops = new LinuxLoopDevices({ legacyConfigure });

  test(`${way}: attach, status, list, find, detach`, async () => {
    const backingFile = await work.sparseFile(8 * MIB);
    const status = await loops.attach({ backingFile });
    const file = await stat(backingFile, { bigint: true });
    assert.equal(status.backingFile, backingFile);
    assert.equal(status.backingDevice, file.dev);
    assert.equal(status.backingInode, file.ino);
    assert.deepEqual(await blocks.number(status.path), status.dev);
    assert.equal(await blocks.sizeBytes(status.path), BigInt(8 * MIB));
    assert.equal(status.readOnly, false);
    assert.equal(status.autoclear, false);
    assert.deepEqual(await loops.status(status.path), status);
    assert.deepEqual(await loops.findByBackingFile(backingFile), [status]);
    assert.ok((await loops.list()).some((entry) => entry.index === status.index));
    assert.equal(await loops.detach(status.path), "detached");
    assert.deepEqual(await loops.findByBackingFile(backingFile), []);
    await assert.rejects(loops.status(status.path), { code: "NATIVE_NOT_FOUND" });
    await assert.rejects(loops.detach(status.path), { code: "NATIVE_NOT_FOUND" });
  });

  test(`${way}: offset, size limit, block size, read-only`, async () => {
    const backingFile = await work.sparseFile(8 * MIB);
    const status = await loops.attach({
      backingFile,
      readOnly: true,
      offsetBytes: BigInt(MIB),
      sizeLimitBytes: BigInt(2 * MIB),
      blockSizeBytes: 4096,
    });
    assert.equal(status.readOnly, true);
    assert.equal(status.offsetBytes, BigInt(MIB));
    assert.equal(status.sizeLimitBytes, BigInt(2 * MIB));
    assert.equal(await blocks.sizeBytes(status.path), BigInt(2 * MIB));
    assert.equal(await blocks.logicalSectorBytes(status.path), 4096);
    const range = { offsetBytes: 0n, lengthBytes: 4096n };
    await assert.rejects(blocks.zeroOut(status.path, range), { name: "NativeError" });
    assert.equal(await loops.detach(status.path), "detached");
  });

  test(`${way}: a bad block size changes nothing`, async () => {
    const backingFile = await work.sparseFile(MIB);
    await assert.rejects(loops.attach({ backingFile, blockSizeBytes: 1000 }), {
      code: "NATIVE_INVALID",
    });
    assert.deepEqual(await loops.findByBackingFile(backingFile), []);
  });

  test(`${way}: an autoclear device stays while it is held and goes with its last close`, async () => {
    const own = new LinuxLoopDevices({ legacyConfigure });
    const backingFile = await work.sparseFile(MIB);
    const status = await own.attach({ backingFile, autoclear: true });
    assert.equal(status.autoclear, true);
    assert.equal((await loops.findByBackingFile(backingFile)).length, 1);
    const user = await open(status.path, "r");
    await own.close();
    assert.equal((await loops.findByBackingFile(backingFile)).length, 1, "the user has it open");
    await user.close();
    assert.deepEqual(await loops.findByBackingFile(backingFile), []);
  });
}

test("racing processes each get a device of their own, one way and the other", async () => {
  const WAYS = [false, true];
  const ROUNDS = 4;
  const files = await Promise.all([1, 2, 3, 4].map(() => work.sparseFile(MIB)));
  const code = `
    import { createInterface } from "node:readline";
    import { LinuxLoopDevices } from "@thinpool/dm-native";
    console.log("ready");
    // A line is the signal to begin: with which way.
    for await (const legacyConfigure of createInterface({ input: process.stdin })) {
      const loops = new LinuxLoopDevices({ legacyConfigure: legacyConfigure === "true" });
      const paths = [];
      for (let round = 0; round < ${ROUNDS}; round += 1) {
        paths.push((await loops.attach({ backingFile: process.argv[1] })).path);
      }
      console.log(JSON.stringify(paths));
    }`;
  const children = files.map((file) => startModule(code, file));
  const ends = children.map((child) => outcomeOf(child));
  // All begin at the same moment, when the slowest has started.
  await Promise.all(children.map(firstOutput));
  for (const legacyConfigure of WAYS) {
    const answers = Promise.all(children.map(firstOutput));
    for (const child of children) child.stdin?.write(`${legacyConfigure}\n`);
    await answers;
  }
  for (const child of children) child.stdin?.end();
  const paths: string[] = [];
  for (const [index, { code: exit, stdout, stderr }] of (await Promise.all(ends)).entries()) {
    assert.equal(exit, 0, stderr);
    const found = stdout.trim().split("\n").slice(1);
    assert.equal(found.length, WAYS.length);
    for (const path of found.flatMap((line) => JSON.parse(line) as string[])) {
      assert.equal((await work.loops.status(path)).backingFile, files[index]);
      paths.push(path);
    }
  }
  assert.equal(new Set(paths).size, files.length * WAYS.length * ROUNDS);
  for (const path of paths) assert.equal(await work.loops.detach(path), "detached");
});

test("a missing node in /dev is made where no udev runs", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(MIB);
  const first = await loops.attach({ backingFile });
  assert.equal(await loops.detach(first.path), "detached");
  await rm(first.path);
  const second = await loops.attach({ backingFile });
  assert.equal(second.path, first.path, "the lowest free device");
  assert.deepEqual(await blocks.number(second.path), first.dev);
  assert.equal(await loops.detach(second.path), "detached");
});

test("a node of another device under a loop device's name is not touched", async () => {
  const { loops } = work;
  const { path, dev } = await loops.attach({ backingFile: await work.sparseFile(MIB) });
  await rename(path, `${path}.aside`);
  await run("/bin/mknod", path, "b", "7", String(dev.minor + 1));
  const refusal = { code: "NATIVE_INVALID", operation: "stat" };
  await assert.rejects(loops.detach(path), refusal);
  await assert.rejects(loops.status(path), refusal);
  await assert.rejects(loops.refreshCapacity(path), refusal);
  await rename(`${path}.aside`, path);
  assert.equal(await loops.detach(path), "detached");
});

test("detaching an open device is deferred to its last close", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(MIB);
  const { path } = await loops.attach({ backingFile });
  const user = await open(path, "r");
  assert.equal(await loops.detach(path), "deferred");
  await user.close();
  assert.deepEqual(await loops.findByBackingFile(backingFile), []);
});

test("detaching the holder's own autoclear device is not deferred", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(MIB);
  const { path } = await loops.attach({ backingFile, autoclear: true });
  assert.equal(await loops.detach(path), "detached");
  assert.deepEqual(await loops.findByBackingFile(backingFile), []);
});

test("an autoclear device goes with the process that holds it, killed as it may be", async () => {
  const backingFile = await work.sparseFile(MIB);
  const child = startModule(
    `import { LinuxLoopDevices } from "@thinpool/dm-native";
     const loops = new LinuxLoopDevices();
     await loops.attach({ backingFile: process.argv[1], autoclear: true });
     console.log("attached");
     setInterval(() => undefined, 1000);`,
    backingFile,
  );
  const outcome = outcomeOf(child);
  await firstOutput(child);
  assert.equal((await work.loops.findByBackingFile(backingFile)).length, 1);
  child.kill("SIGKILL");
  await outcome;
  assert.deepEqual(await work.loops.findByBackingFile(backingFile), []);
});

test("a file that has grown shows after refreshCapacity", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(MIB);
  const { path } = await loops.attach({ backingFile });
  await truncate(backingFile, 4 * MIB);
  assert.equal(await blocks.sizeBytes(path), BigInt(MIB));
  await loops.refreshCapacity(path);
  assert.equal(await blocks.sizeBytes(path), BigInt(4 * MIB));
  assert.equal(await loops.detach(path), "detached");
});

test("direct I/O is on where the file can, and off where it can't", async () => {
  const { loops, mounts } = work;
  const onTmpfs = await loops.attach({ backingFile: await work.sparseFile(MIB), directIo: true });
  const outer = await work.filesystem("ext4", 32 * MIB);
  const target = await work.subfolder("direct");
  await mounts.mount({ source: outer.path, type: "ext4", target, flags: {} });
  const file = await open(`${target}/inner`, "wx");
  await file.truncate(4 * MIB);
  await file.close();
  for (const legacyConfigure of [false, true]) {
    const ways = new LinuxLoopDevices({ legacyConfigure });
    const inner = await ways.attach({ backingFile: `${target}/inner`, directIo: true });
    assert.equal(inner.directIo, true);
    assert.equal(await ways.detach(inner.path), "detached");
  }
  // tmpfs takes O_DIRECT from Linux 6.6 on: what the status says is what sysfs says.
  const dio = await run("/bin/cat", `/sys/block/loop${onTmpfs.index}/loop/dio`);
  assert.equal(onTmpfs.directIo, dio.trim() === "1");
  await mounts.unmount(target);
  for (const { path } of [onTmpfs, outer]) assert.equal(await loops.detach(path), "detached");
});

test("a renamed and a removed backing file are still listed", async () => {
  const { loops } = work;
  const backingFile = await work.sparseFile(MIB);
  const status = await loops.attach({ backingFile });
  await rename(backingFile, `${backingFile}.renamed`);
  assert.equal((await loops.status(status.path)).backingFile, `${backingFile}.renamed`);
  assert.equal((await loops.findByBackingFile(`${backingFile}.renamed`)).length, 1);
  await rm(`${backingFile}.renamed`);
  const listed = (await loops.list()).find((entry) => entry.index === status.index);
  assert.ok(listed);
  assert.ok(listed.backingFile.endsWith(" (deleted)"));
  assert.equal(listed.backingInode, status.backingInode);
  assert.equal(await loops.detach(status.path), "detached");
});

test("however few descriptors a process has left, an attach is done whole or leaves no device", async () => {
  const { code, stdout, stderr } = await outcomeOf(
    startModule(
      `import { execFileSync } from "node:child_process";
       import { closeSync, openSync } from "node:fs";
       import { LinuxLoopDevices } from "@thinpool/dm-native";
       const loops = new LinuxLoopDevices();
       const backingFile = process.argv[1];
       await loops.detach((await loops.attach({ backingFile })).path);
       execFileSync("prlimit", ["--pid", String(process.pid), "--nofile=64"]);
       const outcomes = [];
       for (let left = 0; left <= 4; left += 1) {
         const taken = [];
         try {
           for (;;) taken.push(openSync("/dev/null"));
         } catch (error) {
           if (error.code !== "EMFILE") throw error;
         }
         for (const fd of taken.splice(0, left)) closeSync(fd);
         const told = await loops.attach({ backingFile }).then(
           ({ path }) => path,
           ({ errnoName }) => errnoName,
         );
         for (const fd of taken) closeSync(fd);
         const bound = await loops.findByBackingFile(backingFile);
         for (const { path } of bound) await loops.detach(path);
         outcomes.push([told, bound.map(({ path }) => path)]);
       }
       console.log(JSON.stringify(outcomes));`,
      await work.sparseFile(MIB),
    ),
  );
  assert.equal(code, 0, stderr);
  const outcomes = JSON.parse(stdout) as [told: string, bound: string[]][];
  assert.equal(outcomes[0]?.[0], "EMFILE");
  assert.match(outcomes.at(-1)?.[0] ?? "", /^\/dev\/loop/);
  for (const [told, bound] of outcomes) {
    assert.deepEqual(bound, told === "EMFILE" ? [] : [told]);
  }
});

test("wrong arguments are told apart", async () => {
  const { loops, folder } = work;
  await assert.rejects(loops.attach({ backingFile: `${folder}/none` }), {
    code: "NATIVE_NOT_FOUND",
    errnoName: "ENOENT",
  });
  await assert.rejects(loops.attach({ backingFile: "/dev/null" }), { code: "NATIVE_INVALID" });
  await assert.rejects(loops.attach({ backingFile: folder }), { errnoName: "EISDIR" });
  await assert.rejects(loops.attach({ backingFile: "/etc/passwd/x" }), { errnoName: "ENOTDIR" });
  await assert.rejects(loops.attach({ backingFile: "" }), { code: "NATIVE_INVALID" });
  await assert.rejects(loops.attach({ backingFile: "a\0b" }), { code: "NATIVE_INVALID" });
  await assert.rejects(loops.status("/dev/sda"), { code: "NATIVE_INVALID" });
  await assert.rejects(loops.status("/dev/../dev/loop0"), { code: "NATIVE_INVALID" });
  await assert.rejects(loops.detach("/dev/loop999999"), { code: "NATIVE_NOT_FOUND" });
});

test("an unprivileged user is refused with the capability's name", async () => {
  const { code, stdout, stderr } = await runAsUser(
    `import { LinuxLoopDevices, NativeError } from "@thinpool/dm-native";
     import { writeFileSync, rmSync } from "node:fs";`,
    `const backingFile = process.argv[1];
     writeFileSync(backingFile, Buffer.alloc(4096));
     try {
       await new LinuxLoopDevices().attach({ backingFile });
     } catch (error) {
       if (!(error instanceof NativeError)) throw error;
       console.log(error.code, error.hint);
     }
     rmSync(backingFile);`,
    `/tmp/user-${process.pid}`,
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^NATIVE_PERMISSION .*CAP_SYS_ADMIN/);
});

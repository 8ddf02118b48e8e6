import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  closeDescriptor,
  LinuxMounts,
  openFolderAsCaller,
  openNamespaceOf,
  peerCredentials,
  socketFd,
} from "@thinpool/dm-native";
import type { LoopStatus, MountFlags } from "@thinpool/dm-native";
import {
  firstOutput,
  MIB,
  outcomeOf,
  runAsUser,
  startModule,
  Workspace,
} from "./native-fixture.ts";

const ALL: MountFlags = {
  readOnly: true,
  noSuid: true,
  noDev: true,
  noExec: true,
  noSymFollow: true,
};

let work: Workspace;
let ext4: LoopStatus;
let xfs: LoopStatus;
const legacy = new LinuxMounts({ legacyMount: true });

before(async () => {
  work = await Workspace.create();
  ext4 = await work.filesystem("ext4", 64 * MIB);
  xfs = await work.filesystem("xfs", 320 * MIB);
  // The user of the tests may come in.
  await chmod(work.folder, 0o711);
});
after(async () => {
  for (const { path } of [ext4, xfs]) await work.loops.detach(path);
  await legacy.close();
  await work.remove();
});

for (const way of ["fsopen", "mount(2)"] as const) {
  const api = (): LinuxMounts => (way === "fsopen" ? work.mounts : legacy);

  for (const type of ["ext4", "xfs"] as const) {
    test(`${way}: ${type} with every flag, as mountinfo shows it`, async () => {
      const { path: source, dev } = type === "ext4" ? ext4 : xfs;
      const target = await work.subfolder(`all-${type}-${way}`);
      const info = await api().mount({ source, type, target, flags: ALL });
      assert.equal(info.mountPoint, target);
      assert.equal(info.type, type);
      assert.equal(info.source, source);
      assert.deepEqual(info.dev, dev);
      for (const option of ["ro", "nosuid", "nodev", "noexec", "nosymfollow"]) {
        assert.ok(info.options.includes(option), `${option} in ${info.options.join()}`);
      }
      assert.ok(info.superOptions.includes("ro"));
      assert.deepEqual(
        (await api().list()).find((entry) => entry.mountId === info.mountId),
        info,
      );
      await api().unmount(target, { mountId: info.mountId });
      assert.deepEqual(await work.leftMounts(), []);
    });
  }

  test(`${way}: without flags it can be written; options reach the filesystem`, async () => {
    const target = await work.subfolder(`plain-${way}`);
    const info = await api().mount({
      source: ext4.path,
      type: "ext4",
      target,
      flags: {},
      options: { errors: "remount-ro", nobarrier: true },
    });
    assert.ok(info.options.includes("rw"));
    assert.ok(info.superOptions.includes("nobarrier"), info.superOptions.join());
    await writeFile(`${target}/file-${way}`, "text");
    await api().unmount(target);
  });

  test(`${way}: what fails leaves no mount`, async () => {
    const target = await work.subfolder(`fail-${way}`);
    const empty = await work.loops.attach({ backingFile: await work.sparseFile(MIB) });
    const good = { source: ext4.path, type: "ext4", target, flags: {} } as const;
    const cases = [
      [{ source: empty.path }, "NATIVE_INVALID"],
      [{ type: "xfs" }, "NATIVE_INVALID"],
      [{ type: "nosuchfs" }, "NATIVE_UNSUPPORTED"],
      [{ source: `${work.folder}/none` }, "NATIVE_NOT_FOUND"],
      [{ source: empty.backingFile }, "NATIVE_INVALID"],
      [{ target: `${work.folder}/none` }, "NATIVE_NOT_FOUND"],
      [{ target: empty.backingFile }, "NATIVE_INVALID"],
      [{ target: "relative" }, "NATIVE_INVALID"],
      [{ target: `${target}/../fail-${way}` }, "NATIVE_INVALID"],
      [{ options: { nosuchoption: true } }, "NATIVE_INVALID"],
      [{ options: { errors: "continue,suid" } }, "NATIVE_INVALID"],
    ] as const;
    for (const [change, code] of cases) {
      await assert.rejects(
        api().mount({ ...good, ...change }),
        { name: "NativeError", code },
        JSON.stringify(change),
      );
    }
    assert.deepEqual(await work.leftMounts(), []);
    assert.equal(await work.loops.detach(empty.path), "detached");
  });

  test(`${way}: a symlink is not followed, be it the target or on the way`, async () => {
    const real = await work.subfolder(`real-${way}`);
    await mkdir(`${real}/inner`);
    const link = `${work.folder}/link-${way}`;
    await symlink(real, link);
    for (const target of [link, `${link}/inner`]) {
      const request = { source: ext4.path, type: "ext4", target, flags: {} };
      await assert.rejects(api().mount(request), {
        code: "NATIVE_INVALID",
        errnoName: "ELOOP",
      });
    }
    assert.deepEqual(await work.leftMounts(), []);
  });
}

test("the filesystem's own words are in the error", async () => {
  const target = await work.subfolder("words");
  const options = { nosuchoption: true } as const;
  await assert.rejects(
    work.mounts.mount({ source: ext4.path, type: "ext4", target, flags: {}, options }),
    /Unknown parameter 'nosuchoption'/,
  );
});

test("a path with a space, a backslash and a newline", async () => {
  const target = await work.subfolder("a b\\c\nd");
  const request = { source: ext4.path, type: "ext4", target, flags: {} };
  for (const api of [work.mounts, legacy]) {
    const info = await api.mount(request);
    assert.equal(info.mountPoint, target);
    await api.unmount(target, { mountId: info.mountId });
  }
});

for (const type of ["ext4", "xfs"] as const) {
  test(`an idmapped ${type}: root's files are the user's, and the user's are root's on disk`, async () => {
    const source = (type === "ext4" ? ext4 : xfs).path;
    const target = await work.subfolder(`mapped-${type}`);
    const flags = { noSuid: true, noDev: true };
    const idMap = { insideUid: 0, outsideUid: 1000, insideGid: 0, outsideGid: 1000 };
    const info = await work.mounts.mount({ source, type, target, flags, idMap });
    assert.ok(info.options.includes("nosuid") && info.options.includes("nodev"));
    assert.equal((await lstat(target)).uid, 1000);
    const { code, stdout, stderr } = await runAsUser(
      `import { writeFileSync, statSync } from "node:fs";`,
      `const file = process.argv[1] + "/by-user";
       writeFileSync(file, "text");
       console.log([statSync(file).uid, statSync(file).gid].join(" "));`,
      target,
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout.trim(), "1000 1000");
    await work.mounts.unmount(target, { mountId: info.mountId });
    await work.mounts.mount({ source, type, target, flags });
    const file = await lstat(`${target}/by-user`);
    assert.deepEqual([file.uid, file.gid], [0, 0]);
    await rm(`${target}/by-user`);
    await work.mounts.unmount(target);
  });
}

/** Descriptors of user namespaces in this process. */
async function openNamespaces(): Promise<number> {
  const fds = await readdir("/proc/self/fd");
  const links = await Promise.all(
    fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "closed meanwhile")),
  );
  return links.filter((link) => link.startsWith("user:[")).length;
}

test("user namespaces are kept up to the limit, and closed beyond it and at the end", async () => {
  const atFirst = await openNamespaces();
  const api = new LinuxMounts({ maxNamespaces: 2 });
  const target = await work.subfolder("namespaces");
  for (const outsideUid of [1001, 1002, 1003, 1002]) {
    const idMap = { insideUid: 0, outsideUid, insideGid: 0, outsideGid: outsideUid };
    await api.mount({ source: ext4.path, type: "ext4", target, flags: {}, idMap });
    assert.equal((await lstat(target)).uid, outsideUid);
    await api.unmount(target);
    assert.ok((await openNamespaces()) - atFirst <= 2);
  }
  assert.equal((await openNamespaces()) - atFirst, 2);
  await api.close();
  assert.equal(await openNamespaces(), atFirst);
});

test("mount(2) can't map ids and says so; a wrong id is refused", async () => {
  const target = await work.subfolder("unmapped");
  const idMap = { insideUid: 0, outsideUid: 1000, insideGid: 0, outsideGid: 1000 };
  const request = { source: ext4.path, type: "ext4", target, flags: {}, idMap };
  await assert.rejects(legacy.mount(request), { code: "NATIVE_UNSUPPORTED" });
  const wrong = { ...request, idMap: { ...idMap, outsideUid: -1 } };
  await assert.rejects(work.mounts.mount(wrong), { code: "NATIVE_INVALID" });
  assert.deepEqual(await work.leftMounts(), []);
});

test("unmount takes the topmost mount, and only the one that was meant", async () => {
  const target = await work.subfolder("stacked");
  const lower = await work.mounts.mount({ source: ext4.path, type: "ext4", target, flags: {} });
  const upper = await work.mounts.mount({ source: xfs.path, type: "xfs", target, flags: {} });
  assert.notEqual(lower.mountId, upper.mountId);
  await assert.rejects(work.mounts.unmount(target, { mountId: lower.mountId }), {
    code: "NATIVE_NOT_FOUND",
  });
  await work.mounts.unmount(target, { mountId: upper.mountId });
  await work.mounts.unmount(target, { mountId: lower.mountId });
  await assert.rejects(work.mounts.unmount(target), { code: "NATIVE_NOT_FOUND" });
  await assert.rejects(work.mounts.unmount(target, { mountId: lower.mountId }), {
    code: "NATIVE_NOT_FOUND",
  });
});

test("the root of the system is left alone", async () => {
  const { mounts } = work;
  await assert.rejects(mounts.unmount("/", { lazy: true }), { code: "NATIVE_INVALID" });
  await assert.rejects(mounts.freeze("/"), { code: "NATIVE_INVALID" });
});

test("unmount does not follow a symlink", async () => {
  const target = await work.subfolder("linked");
  const info = await work.mounts.mount({ source: ext4.path, type: "ext4", target, flags: {} });
  const link = `${work.folder}/link-to-mount`;
  await symlink(target, link);
  await assert.rejects(work.mounts.unmount(link), { name: "NativeError" });
  const folderLink = `${work.folder}/link-to-folder`;
  await symlink(work.folder, folderLink);
  await assert.rejects(work.mounts.unmount(`${folderLink}/linked`), { errnoName: "ELOOP" });
  await work.mounts.unmount(target, { mountId: info.mountId });
});

test("a busy mount names who holds it; a lazy unmount takes it away all the same", async () => {
  const target = await work.subfolder("busy");
  const { mounts } = work;
  await mounts.mount({ source: ext4.path, type: "ext4", target, flags: {} });
  const child = startModule(
    `process.chdir(process.argv[1]);
     console.log("inside");
     setInterval(() => undefined, 1000);`,
    target,
  );
  const outcome = outcomeOf(child);
  await firstOutput(child);
  await assert.rejects(mounts.unmount(target), (error: Error & { code: string }) => {
    assert.equal(error.code, "NATIVE_BUSY");
    assert.match(
      error.message,
      new RegExp(`process ${child.pid} \\(.+\\) by its working directory`),
    );
    return true;
  });
  child.kill("SIGKILL");
  await outcome;
  const file = await open(`${target}/held`, "w");
  await assert.rejects(
    mounts.unmount(target),
    new RegExp(`process ${process.pid} .* an open file`),
  );
  await mounts.unmount(target, { lazy: true });
  assert.deepEqual(await work.leftMounts(), []);
  await file.close();
});

test("a mount inside makes it busy, and is named", async () => {
  const target = await work.subfolder("outer");
  const { mounts } = work;
  await mounts.mount({ source: ext4.path, type: "ext4", target, flags: {} });
  await mkdir(`${target}/inner`);
  await mounts.mount({ source: xfs.path, type: "xfs", target: `${target}/inner`, flags: {} });
  await assert.rejects(mounts.unmount(target), new RegExp(`mounted inside, at ${target}/inner`));
  await mounts.unmount(`${target}/inner`);
  await mounts.unmount(target);
});

test("freeze holds writers, thaw lets them go; neither acts on a folder that is no mount point", async () => {
  const target = await work.subfolder("frozen");
  const { mounts } = work;
  await mounts.mount({ source: ext4.path, type: "ext4", target, flags: {} });
  await mounts.freeze(target);
  await assert.rejects(mounts.freeze(target), { code: "NATIVE_BUSY" });
  let written = false;
  const writing = writeFile(`${target}/late`, "text").then(() => (written = true));
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(written, false);
  await mounts.thaw(target);
  await writing;
  await assert.rejects(mounts.thaw(target), { code: "NATIVE_INVALID" });
  await assert.rejects(mounts.freeze(`${target}/lost+found`), { code: "NATIVE_NOT_FOUND" });
  await assert.rejects(mounts.freeze("/tmp/none"), { code: "NATIVE_NOT_FOUND" });
  await mounts.unmount(target);
});

test("trim gives back what was freed", async () => {
  const target = await work.subfolder("trimmed");
  const { mounts } = work;
  await mounts.mount({ source: ext4.path, type: "ext4", target, flags: {} });
  const freed = await mounts.trim(target);
  assert.ok(freed > 0n && freed <= BigInt(64 * MIB), `${freed} bytes`);
  await mounts.trim(target, { minimumBytes: BigInt(MIB) });
  // More than a block group: ext4 refuses.
  await assert.rejects(mounts.trim(target, { minimumBytes: BigInt(1024 * MIB) }), {
    code: "NATIVE_INVALID",
    reason: /at least/,
  });
  await mounts.unmount(target);
});

test("the device of a mount is refused with another read-only state", async () => {
  const { mounts } = work;
  const target = await work.subfolder("first");
  const second = await work.subfolder("second");
  const request = { source: ext4.path, type: "ext4", flags: {} } as const;
  await mounts.mount({ ...request, target });
  await assert.rejects(mounts.mount({ ...request, target: second, flags: { readOnly: true } }), {
    code: "NATIVE_BUSY",
  });
  await mounts.mount({ ...request, target: second });
  await mounts.unmount(second);
  await mounts.unmount(target);
});

test("in another mount namespace: a child that ends without an answer leaves no mount", async () => {
  const { mounts, folder } = work;
  const target = await work.subfolder("elsewhere");
  // Does what it is asked and ends as a child that was killed before it could answer; once.
  const flag = join(folder, "no-answer");
  const program = join(folder, "node");
  const node = process.execPath;
  const text = `#!/bin/sh
if [ -e ${flag} ]; then rm ${flag}; ${node} "$@" > /dev/null; exit 3; fi
exec ${node} "$@"
`;
  await writeFile(program, text, { mode: 0o755 });
  const container = spawn("unshare", ["--mount", "--propagation", "private", "sleep", "1000"], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const { pid } = container;
  assert.ok(pid !== undefined);
  try {
    const own = await readlink("/proc/self/ns/mnt");
    for (let look = 1; (await readlink(`/proc/${pid}/ns/mnt`)) === own; look += 1) {
      assert.ok(look < 500, "the child has no namespace of its own");
      await sleep(20);
    }
    await using namespace = await openNamespaceOf(pid);
    const { descriptor: namespaceDescriptor, topDescriptor } = namespace;
    const ids = { uid: 0, gid: 0, groups: [] };
    const targetDescriptor = openFolderAsCaller({ root: folder, path: target, ids, topDescriptor });
    const request = { source: ext4.path, type: "ext4", target, flags: {} } as const;
    const there = async (): Promise<readonly string[]> =>
      (await mounts.list({ namespaceDescriptor }))
        .map(({ mountPoint }) => mountPoint)
        .filter((path) => path === target);
    try {
      const mounted = await mounts.mount({ ...request, targetDescriptor, namespaceDescriptor });
      assert.deepEqual(await there(), [target]);
      const { mountId } = mounted;
      await mounts.unmount(target, { namespaceDescriptor, mountId });
      process.execPath = program;
      await writeFile(flag, "");
      await assert.rejects(mounts.mount({ ...request, targetDescriptor, namespaceDescriptor }), {
        code: "NATIVE_IO",
        reason: "the child ended: 3",
      });
      await assert.rejects(readFile(flag), { code: "ENOENT" });
      assert.deepEqual(await there(), []);
    } finally {
      await closeDescriptor(targetDescriptor);
    }
  } finally {
    process.execPath = node;
    container.kill("SIGKILL");
    await once(container, "exit");
  }
});

test("an unprivileged user can't mount and is told what is missing", async () => {
  const target = await work.subfolder("denied");
  const { code, stdout, stderr } = await runAsUser(
    `import { LinuxMounts, NativeError } from "@thinpool/dm-native";`,
    `try {
       const [source, target] = process.argv.slice(1);
       await new LinuxMounts().mount({ source, type: "ext4", target, flags: {} });
     } catch (error) {
       if (!(error instanceof NativeError)) throw error;
       console.log(error.code, error.hint);
     }`,
    ext4.path,
    target,
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^NATIVE_PERMISSION .*CAP_SYS_ADMIN/);
  assert.deepEqual(await work.leftMounts(), []);
});

test("the kernel names a client of uid 1000, its process and groups", async () => {
  const path = `${work.folder}/socket`;
  const server = createServer().listen({ path, writableAll: true });
  await once(server, "listening");
  const connected = once(server, "connection") as Promise<[Socket]>;
  const client = runAsUser(
    `import { connect } from "node:net";`,
    `connect(process.argv[1]).on("data", () => process.exit(0)).on("connect", () => {
       process.stdout.write(String(process.pid));
     });`,
    path,
  );
  const [socket] = await connected;
  const peer = peerCredentials(socketFd(socket));
  socket.write("x");
  const { code, stdout, stderr } = await client;
  assert.equal(code, 0, stderr);
  assert.deepEqual(peer, { pid: Number(stdout), uid: 1000, gid: 1000, groups: [] });
  socket.destroy();
  server.close();
});

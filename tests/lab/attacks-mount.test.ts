/**
 * Attacks on mounting, with real uids on the real kernel: each ends with the code of a refusal, and
 * nothing is mounted where its caller could not have put it. Run as root in the lab.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync } from "node:fs";
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Daemon } from "@thinpool/mount-helper";
import { DEFAULT_MOUNT_RULES, ROOT_MOUNT_RULES, startDaemon } from "@thinpool/mount-helper";
import { connect } from "@thinpool/sdk";
import { NativeError, createPool, linuxKernel, openFolderAsCaller } from "@thinpool/thinpool";
import { firstOutput, outcomeOf, run } from "./native-fixture.ts";
import { NODE_FLAGS } from "./runtime.ts";

const USER_PROGRAM = new URL("daemon-user.ts", import.meta.url).pathname;
const SWAPPER = new URL("mount-swapper.ts", import.meta.url).pathname;
const BACKING = { type: "files", dataBytes: 512n << 20n, metadataBytes: 8n << 20n } as const;
const DEVICE_BYTES = 64n << 20n;
/** Debian's group "users"; any will do that the machine has. */
const GROUP = { name: "users", gid: 100 };
const ATTACKER = 1000;
const VICTIM = 1001;
const SWAP_TRIES = 10_000;
/** The tries are bounded in time as well; fewer than SWAP_TRIES in it is a failure. */
const SWAP_TIMEOUT_MS = 900_000;
/** Each of so many tries mounts what it has opened; the others only open. */
const TRIES_PER_MOUNT = 20;

const kernel = linuxKernel();
let parent = "";
let homes = "";
let socketPath = "";
let daemon: Daemon;
/** What the daemon took for a mistake of its own. */
const errors: string[] = [];

async function own(path: string, uid: number, mode = 0o755): Promise<string> {
  await mkdir(path);
  await chmod(path, mode);
  await chown(path, uid, uid === 0 ? 0 : GROUP.gid);
  return path;
}

/** Runs a scenario of daemon-user.ts; what it printed. */
async function asUser(scenario: string, env: Record<string, string> = {}): Promise<unknown> {
  const args = [String(ATTACKER), String(GROUP.gid), socketPath, scenario];
  const child = spawn(process.execPath, [...NODE_FLAGS, USER_PROGRAM, ...args], { env });
  const { code, stdout, stderr } = await outcomeOf(child);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as unknown;
}

async function mountsBelow(folder: string): Promise<readonly string[]> {
  const all = await kernel.mounts.list();
  return all.map(({ mountPoint }) => mountPoint).filter((path) => path.startsWith(`${folder}/`));
}

before(async () => {
  parent = await mkdtemp("/tmp/thinpool-attacks-");
  await chmod(parent, 0o755);
  homes = await own(join(parent, "homes"), 0);
  await own(join(homes, "attacker"), ATTACKER);
  await own(join(homes, "victim"), VICTIM);
  await own(join(homes, "victim", "target"), VICTIM);
  const folder = join(parent, "pool");
  socketPath = `/run/thinpool/${parent.slice("/tmp/".length)}.sock`;
  const pool = await createPool({ folder, kernel, backing: BACKING });
  await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
  await pool.detach();
  daemon = await startDaemon({
    folder,
    socketPath,
    kernel,
    socketGroup: GROUP.name,
    mountRulesFor: ({ uid }) =>
      uid === 0 ? ROOT_MOUNT_RULES : { ...DEFAULT_MOUNT_RULES, folderRoots: [homes] },
    logger: {
      log: (level, event, fields) => {
        if (level === "error") errors.push(`${event}: ${JSON.stringify(fields)}`);
      },
    },
  });
  await using root = await connect({ socketPath });
  await root.rights.publish({ name: "base" });
});

after(async () => {
  await daemon.stop({ teardown: true });
  assert.deepEqual(errors, []);
  assert.deepEqual(await mountsBelow(parent), []);
  await kernel[Symbol.asyncDispose]();
  await rm(parent, { recursive: true, force: true });
});

test("folders that a user may not mount on, each with its reason, and those that it may", async () => {
  const home = join(homes, "attacker");
  const plain = await own(join(home, "plain"), ATTACKER);
  // The comma would end the option and begin others, did it ever reach the kernel's text of options.
  const comma = await own(join(home, "x,suid,dev"), ATTACKER);
  const full = await own(join(home, "full"), ATTACKER);
  await writeFile(join(full, "file"), "");
  await symlink(plain, join(home, "link"));
  await own(join(home, "of-root"), 0, 0o777);
  const locked = await own(join(home, "locked"), 0, 0o700);
  await own(join(locked, "inner"), ATTACKER);
  const unreadable = await own(join(home, "unreadable"), ATTACKER, 0o300);
  const covered = await own(join(home, "covered"), ATTACKER);
  await run("/usr/bin/mount", "-t", "tmpfs", "none", covered);
  await chown(covered, ATTACKER, GROUP.gid);
  await own(join(covered, "inside"), ATTACKER);
  const refused: Readonly<Record<string, string>> = {
    [join(homes, "victim", "target")]: "FORBIDDEN",
    [join(home, "of-root")]: "FORBIDDEN",
    [join(locked, "inner")]: "FORBIDDEN",
    [unreadable]: "FORBIDDEN",
    [join(parent, "pool")]: "FORBIDDEN",
    "/etc": "FORBIDDEN",
    "/proc/self/cwd": "FORBIDDEN",
    [homes]: "FORBIDDEN",
    [covered]: "INVALID_PARAMS",
    [join(covered, "inside")]: "INVALID_PARAMS",
    [join(home, "link")]: "INVALID_PARAMS",
    [join(full, "file")]: "INVALID_PARAMS",
    [join(home, "missing")]: "INVALID_PARAMS",
    [`${home}/../victim/target`]: "INVALID_PARAMS",
    [`${home}//plain`]: "INVALID_PARAMS",
    [`${plain}\n`]: "INVALID_PARAMS",
    [`${plain}\0/x`]: "INVALID_PARAMS",
    plain: "INVALID_PARAMS",
    [full]: "BUSY",
  };
  const expected: Record<string, string> = { ...refused };
  for (const folder of [plain, comma]) {
    expected[folder] = "done";
    expected[`${folder} options`] = "rw,nosuid,nodev,relatime,idmapped";
  }
  const folders = [...Object.keys(refused), plain, comma];
  const outcomes = await asUser("folders", { FOLDERS: JSON.stringify(folders) });
  await run("/usr/bin/umount", covered);
  assert.deepEqual(outcomes, expected);
  assert.deepEqual(await mountsBelow(homes), []);
});

test("a caller in another mount namespace is told so: its paths are not the daemon's", async () => {
  const plain = join(homes, "attacker", "plain");
  const args = [String(ATTACKER), String(GROUP.gid), socketPath, "folders"];
  const child = spawn(
    "/usr/bin/unshare",
    ["--mount", process.execPath, ...NODE_FLAGS, USER_PROGRAM, ...args],
    { env: { FOLDERS: JSON.stringify([plain]) } },
  );
  const { code, stdout, stderr } = await outcomeOf(child);
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), { [plain]: "UNSUPPORTED" });
});

test("a set-user-id program and a device node that root put into the image are worth nothing", async () => {
  await using root = await connect({ socketPath });
  {
    await using image = await root.mount({ device: "base" });
    const program = join(image.path, "setuid-id");
    await copyFile("/usr/bin/id", program);
    await chmod(program, 0o4755);
    // 1:3 is /dev/null: whoever may open that here may open any disk.
    await run("/usr/bin/mknod", "-m", "666", join(image.path, "device"), "c", "1", "3");
    await chmod(image.path, 0o755);
  }
  assert.deepEqual(await asUser("traps"), { uid: ATTACKER, mode: "4755", device: "EACCES" });
});

test(`the way to the folder is swapped for links to another's, ${SWAP_TRIES} times`, async (t) => {
  const home = await own(join(homes, "attacker", "first"), ATTACKER);
  const path = join(home, "way", "target");
  const args = [String(ATTACKER), String(GROUP.gid), home, join(homes, "victim")];
  const swapper = spawn(process.execPath, [SWAPPER, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(swapper, "exit");
  await firstOutput(swapper);
  const ids = { uid: ATTACKER, gid: GROUP.gid, groups: [] };
  const codes = new Map<string, number>();
  const count = (code: string): void => void codes.set(code, (codes.get(code) ?? 0) + 1);
  const deadline = performance.now() + SWAP_TIMEOUT_MS;
  let tries = 0;
  try {
    for (; tries < SWAP_TRIES && performance.now() < deadline; tries += 1) {
      try {
        const targetDescriptor = openFolderAsCaller({ root: homes, path, ids });
        try {
          if (tries % TRIES_PER_MOUNT !== 0) {
            count("opened");
            continue;
          }
          // A tmpfs: what is attacked is where it is attached, and this one needs no device.
          const { mountId, mountPoint } = await kernel.mounts.mount({
            source: "none",
            type: "tmpfs",
            target: path,
            targetDescriptor,
            flags: { noSuid: true, noDev: true },
          });
          assert.equal(mountPoint, path);
          count("mounted");
          // The attacker stands still meanwhile: how the daemon unmounts is the next test's matter.
          swapper.kill("SIGSTOP");
          const info = (await kernel.mounts.list()).find((mount) => mount.mountId === mountId);
          await kernel.mounts.unmount(info?.mountPoint ?? "gone", { mountId });
          swapper.kill("SIGCONT");
        } finally {
          closeSync(targetDescriptor);
        }
      } catch (error) {
        if (!(error instanceof NativeError)) throw error;
        count(error.code);
      }
      if (tries % 500 === 0) assert.deepEqual(await mountsBelow(join(homes, "victim")), []);
    }
  } finally {
    swapper.kill("SIGKILL");
    await ended;
  }
  t.diagnostic(JSON.stringify(Object.fromEntries(codes)));
  assert.equal(tries, SWAP_TRIES, "in the time that it may take");
  assert.deepEqual(await mountsBelow(homes), []);
  for (const code of ["opened", "mounted", "NATIVE_INVALID"]) {
    assert.ok((codes.get(code) ?? 0) > 0, `both sides won at times: ${code}`);
  }
});

test("mounting by the daemon while the way is swapped: in its place, or refused", async (t) => {
  const home = await own(join(homes, "attacker", "second"), ATTACKER);
  const args = [String(ATTACKER), String(GROUP.gid), home, join(homes, "victim")];
  const swapper = spawn(process.execPath, [SWAPPER, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = once(swapper, "exit");
  await firstOutput(swapper);
  const path = join(home, "way", "target");
  try {
    t.diagnostic(JSON.stringify(await asUser("swapped", { FOLDER: path })));
  } finally {
    swapper.kill("SIGKILL");
    await ended;
  }
  assert.deepEqual(await mountsBelow(homes), []);
});

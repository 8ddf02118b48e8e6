/** The command line from a pool's making to its end, in a real kernel: as root and as uid 1000. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { mkdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { connect } from "@thinpool/sdk";
import { cliArguments, PLAIN_FAILURE, thinpool } from "../e2e/cli-process.ts";
import type { CliOptions } from "../e2e/cli-process.ts";
import { cliWorld, run, STRANGER, USER } from "./cli-world.ts";
import { kernelState } from "./kernel-state.ts";

const POOL_SIZES = ["--data-size", "256MiB", "--metadata-size", "8MiB", "--low-water", "16MiB"];

const untouched = kernelState();
const w = await cliWorld();
const { scratch, socketPath, env, runtime, ok, json } = w;
const atStart = kernelState();
const suffix = randomBytes(4).toString("hex");
const base = `base-${suffix}`;
const copy = `copy-${suffix}`;

interface MountLine {
  readonly reference: string;
  readonly device: string;
  readonly path: string;
  readonly count: number;
}

/** What a refused command must leave as it is: all but the time; asked in this process, which is faster. */
async function everything(): Promise<unknown> {
  await using client = await connect({ socketPath });
  const [devices, mounts, status] = await Promise.all([
    client.list(),
    client.mounts(),
    client.status(),
  ]);
  const timeless = mounts.map(({ leaseLeftMs: _left, ...mount }) => mount);
  return { devices, mounts: timeless, status, kernel: kernelState() };
}

async function refused(
  args: readonly string[],
  expected: { readonly exitCode: number; readonly says: RegExp },
  options: CliOptions = {},
): Promise<void> {
  assert.match(await w.refused(expected.exitCode, args, options), expected.says);
}

suite("thinpool on a real kernel", () => {
  let poolUuid: string;

  after(async () => {
    await w[Symbol.asyncDispose]();
    assert.deepEqual(kernelState(), untouched);
  });

  test("pool create prints the uuid and leaves nothing open", async () => {
    poolUuid = await ok(["pool", "create", ...POOL_SIZES]);
    assert.match(poolUuid, /^[0-9a-f-]{36}$/);
    assert.deepEqual(kernelState(), atStart);
  });

  test("serve opens it, and pool status tells of it", async () => {
    await w.serve();
    const status = await json<Record<string, unknown>>(["pool", "status"]);
    assert.equal(status["uuid"], poolUuid);
    assert.equal(status["state"], "working");
    assert.equal(status["dataTotalBytes"], String(256 << 20));
    const text = await ok(["pool", "status"], { user: USER });
    assert.match(text, /^state: +working$/m);
    assert.match(text, /^data: +\S+\n +.* of 256 MiB \([0-9.]+%\)$/m);
    const exact = await ok(["pool", "status", "--bytes"]);
    assert.match(exact, /^data: +\S+\n +[0-9]+ B? ?of 268435456 /m);
  });

  test("device create as root, snapshot as a user, list in text and JSON", async () => {
    assert.equal(await ok(["device", "create", base, "--size", "64MiB"]), base);
    assert.equal(await ok(["image", "publish", base]), `${base} is public`);
    assert.equal(await ok(["device", "snapshot", base, copy], { user: USER }), copy);
    const devices = await json<{ name: string; ownerUid: number; sizeBytes: string }[]>(
      ["device", "list"],
      { user: USER },
    );
    const seen = devices.map(({ name, ownerUid, sizeBytes }) => [name, ownerUid, sizeBytes]);
    assert.deepEqual(
      seen.toSorted(([a], [b]) => String(a).localeCompare(String(b))),
      [
        [base, 0, String(64 << 20)],
        [copy, USER.uid, String(64 << 20)],
      ],
    );
    const text = await ok(["device", "list"], { user: USER });
    assert.match(text, new RegExp(`^${copy} +64 MiB +ext4 +${base} +${USER.uid} +no `, "m"));
  });

  test("a user mounts twice, writes, and releases twice", async () => {
    const path = await ok(["mount", copy], { user: USER });
    await w.writeAs(USER, join(path, "f"), "1");
    assert.equal(await readFile(join(path, "f"), "utf8"), "1");

    const second = await json<MountLine>(["mount", copy], { user: USER });
    assert.equal(second.path, path);
    const mounts = await json<MountLine[]>(["mounts"], { user: USER });
    assert.deepEqual(
      mounts.map(({ device, count }) => [device, count]),
      [
        [copy, 2],
        [copy, 2],
      ],
    );
    assert.match(
      await ok(["mounts"], { user: USER }),
      new RegExp(`^${copy} +${path} +1000 +2 `, "m"),
    );

    assert.match(await ok(["umount", second.reference], { user: USER }), /: references left: 1$/);
    assert.ok(kernelState().mounts.includes(path));
    assert.match(await ok(["umount", copy], { user: USER }), /: unmounted$/);
    assert.ok(!kernelState().mounts.includes(path));
    assert.deepEqual(await json(["mounts"]), []);
  });

  test("bad input through the daemon: one line, an exit code, and nothing changes", async () => {
    await ok(["mount", copy], { user: USER });
    const [{ reference } = { reference: "" }] = await json<MountLine[]>(["mounts"]);
    const state = await everything();

    const size = ["--size", "64MiB"];
    const badName = { exitCode: 2, says: /name|INVALID/i };
    await refused(["device", "create", "a/b", ...size], badName);
    await refused(["device", "create", "", ...size], badName);
    await refused(["device", "snapshot", base, "x".repeat(65)], badName, { user: USER });
    await refused(["device", "snapshot", base, "a\nb"], badName, { user: USER });
    await refused(["device", "create", base, ...size], { exitCode: 1, says: /exists/i });
    await refused(["device", "snapshot", base, copy], { exitCode: 1, says: /exists/i });
    await refused(["device", "snapshot", `no-${suffix}`, "x"], { exitCode: 3, says: /no-/ });
    await refused(["device", "remove", `no-${suffix}`], { exitCode: 3, says: /no-/ });
    // In use.
    await refused(
      ["device", "remove", copy],
      { exitCode: 5, says: /mounted|use|busy/i },
      { user: USER },
    );
    // What one did not mount, as root by name, as another user by name and by reference.
    const notMounted = { exitCode: 3, says: /reference|mounted/i };
    await refused(["umount", copy], notMounted);
    await refused(["umount", base], notMounted, { user: USER });
    await refused(["umount", copy], notMounted, { user: STRANGER });
    const stranger = await thinpool(["umount", reference], { env, runtime, user: STRANGER });
    assert.match(stranger.stderr, PLAIN_FAILURE);
    assert.ok([3, 4].includes(stranger.exitCode ?? 0), stranger.stderr);
    // Not the caller's to do.
    const roots = { exitCode: 4, says: /root/ };
    await refused(["mount", base], roots, { user: USER });
    await refused(["device", "remove", base], roots, { user: USER });
    await refused(
      ["device", "create", "mine"],
      { exitCode: 4, says: /root|admin/i },
      { user: USER },
    );
    const others = await thinpool(["device", "remove", copy], { env, runtime, user: STRANGER });
    assert.match(others.stderr, PLAIN_FAILURE);
    assert.ok([3, 4].includes(others.exitCode ?? 0), others.stderr);

    assert.deepEqual(await everything(), state);
    await ok(["umount", copy], { user: USER });
  });

  test("bad input on the pool's folder: in use, or with a pool in it already", async () => {
    const state = await everything();
    const other = join(scratch, "socket", "other.sock");
    await refused(["serve", "--socket", other], { exitCode: 5, says: /process|pid|lock/i });
    const create = await thinpool(["pool", "create", ...POOL_SIZES], { env });
    assert.match(create.stderr, PLAIN_FAILURE);
    assert.ok([1, 5].includes(create.exitCode ?? 0), create.stderr);
    assert.deepEqual(await everything(), state);
  });

  test("devices are removed, serve ends cleanly, and nothing is left", async () => {
    assert.equal(await ok(["device", "remove", copy], { user: USER }), copy);
    assert.deepEqual(await json(["device", "remove", base]), { removed: base });
    assert.deepEqual(await json(["device", "list"]), []);
    await w.stop();
    await refused(["device", "list"], { exitCode: 7, says: /socket/ });
    assert.deepEqual(kernelState(), atStart);
  });

  test("--direct leaves nothing up, where it fails and after Ctrl-C too", async () => {
    await refused(["device", "show", "none", "--direct"], { exitCode: 3, says: /none/ });
    assert.deepEqual(kernelState(), atStart);
    const places = (): string[] =>
      readdirSync("/run").filter((name) => name.startsWith("thinpool-direct-"));
    assert.deepEqual(places(), []);
    const args = cliArguments(["device", "create", "late", "--direct", "--size", "64MiB"]);
    const child = spawn(process.execPath, args, {
      env: { PATH: process.env["PATH"], ...env },
      stdio: ["ignore", "ignore", "pipe"],
      timeout: 60_000,
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    const ended = once(child, "close");
    while (places().length === 0 && child.exitCode === null) await setTimeout(5);
    child.kill("SIGINT");
    assert.deepEqual(await ended, [1, null], said);
    assert.match(said, /^Error: --direct of \S+: cancelled\.\nHint: Nothing was done\.$/m);
    assert.deepEqual(places(), []);
    assert.deepEqual(kernelState(), atStart);
  });

  test("bad input to pool create and serve: nothing is made", async () => {
    const fresh = (name: string): string[] => ["pool", "create", "--folder", join(scratch, name)];

    const sizes = ["--data-size", "64KiB", "--metadata-size", "8MiB"];
    const small = await thinpool([...fresh("small"), ...sizes], { env });
    assert.match(small.stderr, PLAIN_FAILURE);
    assert.ok([1, 2].includes(small.exitCode ?? 0), small.stderr);

    await refused(["serve", "--folder", join(scratch, "none")], { exitCode: 3, says: /none/ });

    // A missing capability: not root, in a folder of one's own.
    const own = join(scratch, "own");
    await mkdir(own);
    await run("chown", [`${USER.uid}:${USER.gid}`, own]);
    const unprivileged = ["pool", "create", "--folder", join(own, "pool"), ...POOL_SIZES];
    await refused(unprivileged, { exitCode: 4, says: /CAP_SYS_ADMIN|root/ }, { user: USER });

    assert.deepEqual(kernelState(), atStart);
  });

  test("bad input: a block device with a filesystem, or with another pool", async () => {
    const loops: string[] = [];
    const loop = async (name: string, bytes: number): Promise<string> => {
      const file = join(scratch, name);
      await writeFile(file, "");
      await truncate(file, bytes);
      const { stdout } = await run("losetup", ["--find", "--show", file]);
      loops.push(stdout.trim());
      return stdout.trim();
    };
    try {
      const data = await loop("data.img", 128 << 20);
      const metadata = await loop("metadata.img", 8 << 20);
      const filesystem = await loop("filesystem.img", 32 << 20);
      await run("mkfs.ext4", ["-q", filesystem]);
      const on = (name: string, dataPath: string, metadataPath: string): string[] => [
        "pool",
        "create",
        "--folder",
        join(scratch, name),
        "--data-device",
        dataPath,
        "--metadata-device",
        metadataPath,
      ];
      const withLoops = kernelState();
      await refused(on("fs", filesystem, metadata), {
        exitCode: 4,
        says: /ext4|filesystem|signature/i,
      });
      await refused(on("fs", data, filesystem), {
        exitCode: 4,
        says: /ext4|filesystem|signature/i,
      });
      await ok(on("first", data, metadata));
      await refused(on("again", data, metadata), { exitCode: 4, says: /pool|signature/i });
      assert.deepEqual(kernelState(), withLoops);
    } finally {
      for (const device of loops) await run("losetup", ["--detach", device]);
    }
    assert.deepEqual(kernelState(), atStart);
  });

  test("bad input: a kernel without device-mapper", async () => {
    // A mount namespace that shows neither the control node nor what could lead to making one.
    const hide =
      "mount -t tmpfs none /dev/mapper && mount --bind /dev/null /proc/misc && " +
      'mount --bind /dev/null /proc/devices && exec "$@"';
    const create = ["pool", "create", "--folder", join(scratch, "nodm"), ...POOL_SIZES];
    const command = [process.execPath, ...cliArguments(create)];
    await assert.rejects(
      run("unshare", ["--mount", "sh", "-c", hide, "sh", ...command], {
        env: { PATH: process.env["PATH"] },
      }),
      (error) => {
        const { code, stderr } = error as { code: number; stderr: string };
        assert.match(stderr, PLAIN_FAILURE);
        assert.match(stderr, /device-mapper|dm-mod|dm_mod/);
        assert.equal(code, 1);
        return true;
      },
    );
    assert.deepEqual(kernelState(), atStart);
  });
});

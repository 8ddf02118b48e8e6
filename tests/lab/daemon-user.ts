/**
 * A program without privileges, as a user of the SDK writes it: run by daemon.test.ts as
 * `daemon-user.ts UID GID SOCKET SCENARIO`; prints one line of JSON. It starts as root only so that it
 * can read this repository wherever that lies, and gives that up before it connects.
 */
import assert from "node:assert/strict";
import { readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client } from "@thinpool/sdk";
import { ThinpoolError, connect } from "@thinpool/sdk";

const [uid = "", gid = "", socketPath = "", scenario = ""] = process.argv.slice(2);

function dropPrivileges(): void {
  process.setgroups?.([Number(gid)]);
  process.setgid?.(Number(gid));
  process.setuid?.(Number(uid));
  assert.equal(process.getuid?.(), Number(uid));
  assert.throws(() => process.setuid?.(0), { code: "EPERM" });
}

/** The code with which a call is refused, or "done". */
async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "done";
  } catch (error) {
    if (error instanceof ThinpoolError) return error.code;
    throw error;
  }
}

const scenarios: Readonly<Record<string, (client: Client) => Promise<unknown>>> = {
  /** Clones, mounts twice, writes, releases twice, removes. */
  async work(client) {
    await using clone = await client.clone({ origin: "base", name: `work-${uid}` });
    const first = await clone.mount();
    const second = await clone.mount();
    const file = join(first.path, "file");
    await writeFile(file, "written by a user");
    const { uid: owner, gid: group } = await stat(file);
    const root = await stat(first.path);
    const listed = await client.mounts();
    const one = await first.release();
    const text = await readFile(join(second.path, "file"), "utf8");
    const two = await second.release();
    // Mounted again it holds what was written: the device was deactivated in between.
    const third = await clone.mount();
    const again = await readFile(join(third.path, "file"), "utf8");
    await third.release();
    return {
      owner,
      group,
      rootOwner: root.uid,
      listed: listed.map(({ count }) => count),
      counts: [one.count, two.count],
      texts: [text, again],
      names: await readdir(join(first.path, "..")),
    };
  },

  /** Two clones of one xfs at once: both have the origin's filesystem uuid. */
  async xfs(client) {
    await using one = await client.clone({ origin: "xfs-base", name: "xfs-one" });
    await using two = await client.clone({ origin: "xfs-base", name: "xfs-two" });
    await using first = await one.mount();
    await using second = await two.mount();
    await writeFile(join(first.path, "file"), "first");
    await writeFile(join(second.path, "file"), "second");
    const files = [first.path, second.path].map((path) => readFile(join(path, "file"), "utf8"));
    return Promise.all(files);
  },

  /** Clones two, mounts one once and the other twice, writes, and leaves them mounted. */
  async hold(client) {
    for (const name of ["held-a", "held-b"]) {
      await client.clone({ origin: "base", name });
      const mount = await client.mount({ device: name });
      await writeFile(join(mount.path, "file"), name);
    }
    await client.mount({ device: "held-b" });
    return client.mounts();
  },

  /** Finds what `hold` left, and gives it all back. */
  async giveBack(client) {
    const mounts = await client.mounts();
    const texts = await Promise.all(mounts.map(({ path }) => readFile(join(path, "file"), "utf8")));
    for (const { reference } of mounts) await client.release({ reference });
    for (const name of ["held-a", "held-b"]) await client.remove({ name });
    return { mounts, texts };
  },

  /** What another user must not be able to do to uid 1000's clone, and no user to root's image. */
  async misuse(client) {
    const { REFERENCE: reference = "", MOUNT_PATH: path = "" } = process.env;
    return {
      create: await outcome(client.create({ name: "mine", sizeBytes: 16n << 20n })),
      removeImage: await outcome(client.remove({ name: "base" })),
      mountImage: await outcome(client.mount({ device: "base" })),
      removeOther: await outcome(client.remove({ name: "held-a" })),
      mountOther: await outcome(client.mount({ device: "held-a" })),
      getOther: await outcome(client.get({ name: "held-a" })),
      cloneOther: await outcome(client.clone({ origin: "held-a", name: "stolen" })),
      releaseOther: await outcome(client.release({ reference })),
      mounts: (await client.mounts()).length,
      names: (await client.list()).map(({ name }) => name),
      enter: await readdir(path).then(
        () => "done",
        (error: unknown) => (error instanceof Error && "code" in error ? error.code : "?"),
      ),
    };
  },
};

dropPrivileges();
const run = scenarios[scenario];
assert.ok(run !== undefined, `no scenario ${scenario}`);
await using client = await connect({ socketPath, timeoutMs: 120_000 });
process.stdout.write(`${JSON.stringify(await run(client))}\n`);

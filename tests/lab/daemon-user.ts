/**
 * A program without privileges, as a user of the SDK writes it: run by daemon.test.ts as
 * `daemon-user.ts UID GID SOCKET SCENARIO`; prints one line of JSON. It starts as root only so that it
 * can read this repository wherever that lies, and gives that up before it connects.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { open, readFile, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
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

/** They outlive this program: a session's mounts would go with it. */
const LEASE = { holder: { type: "lease", ttlMs: 3_600_000 } } as const;

/** The references without the time that is left of their leases. */
async function known(client: Client): Promise<readonly unknown[]> {
  return (await client.mounts()).map(({ leaseLeftMs: _left, ...mount }) => mount);
}

const SWAPPED_MS = 10_000;
const MAX_SWAPPED = 1_000;

async function optionsOf(mountPoint: string): Promise<string> {
  const lines = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
  // mountinfo writes a space as an octal escape; these paths have none.
  return lines.find((line) => line.includes(` ${mountPoint} `))?.split(" ")[5] ?? "none";
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
    // Not before they are read: what is `using` ends with the function, not with what it returns.
    return await Promise.all(files);
  },

  /** Clones two, mounts one once and the other twice, writes, and leaves them mounted. */
  async hold(client) {
    for (const name of ["held-a", "held-b"]) {
      await client.clone({ origin: "base", name });
      const mount = await client.mount({ device: name, ...LEASE });
      await writeFile(join(mount.path, "file"), name);
    }
    await client.mount({ device: "held-b", ...LEASE });
    return known(client);
  },

  /** Finds what `hold` left, and gives it all back. */
  async giveBack(client) {
    const mounts = await known(client);
    const texts = await Promise.all(
      (await client.mounts()).map(({ path }) => readFile(join(path, "file"), "utf8")),
    );
    for (const { reference } of await client.mounts()) await client.release({ reference });
    for (const name of ["held-a", "held-b"]) await client.remove({ name });
    return { mounts, texts };
  },

  /** Mounts one clone on each of FOLDERS in turn: the code of the refusal, or the mount's options. */
  async folders(client) {
    const folders = JSON.parse(process.env["FOLDERS"] ?? "[]") as string[];
    await using clone = await client.clone({ origin: "base", name: `folders-${uid}` });
    const outcomes: Record<string, string> = {};
    for (const folder of folders) {
      outcomes[folder] = await outcome(
        (async () => {
          await using mount = await clone.mount({ folder });
          assert.equal(mount.path, folder);
          await writeFile(join(folder, "file"), "mine");
          assert.equal((await stat(join(folder, "file"))).uid, Number(uid));
          outcomes[`${folder} options`] = await optionsOf(folder);
        })(),
      );
    }
    return outcomes;
  },

  /** Mounts on FOLDER, which is being swapped, for some seconds: how often with which outcome. */
  async swapped(client) {
    const { FOLDER: folder = "" } = process.env;
    await using clone = await client.clone({ origin: "base", name: `swapped-${uid}` });
    const tally: Record<string, number> = {};
    const end = performance.now() + SWAPPED_MS;
    for (let tries = 0; tries < MAX_SWAPPED && performance.now() < end; tries += 1) {
      const code = await outcome(
        (async () => {
          const mount = await clone.mount({ folder });
          for (let attempt = 0; attempt < MAX_SWAPPED; attempt += 1) {
            if ((await outcome(mount.release())) !== "BUSY") return;
          }
          assert.fail("never released");
        })(),
      );
      tally[code] = (tally[code] ?? 0) + 1;
    }
    return tally;
  },

  /** What a program and a device node that root put into the image are worth. */
  async traps(client) {
    await using clone = await client.clone({ origin: "base", name: `traps-${uid}` });
    await using mount = await clone.mount();
    const { stdout } = await promisify(execFile)(join(mount.path, "setuid-id"), ["-u"]);
    return {
      uid: Number(stdout),
      mode: ((await stat(join(mount.path, "setuid-id"))).mode & 0o7777).toString(8),
      device: await open(join(mount.path, "device"), "r").then(
        () => "opened",
        (error: unknown) => (error instanceof Error && "code" in error ? error.code : "?"),
      ),
    };
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

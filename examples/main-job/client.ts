/**
 * The unprivileged half of the main job: it has no rights and uses only the SDK.
 * `client.ts fill` makes ten clones and changes files in each; `client.ts finish` comes back after
 * the daemon was killed, checks that all is still there, and removes the clones.
 * The steps are printed as JSON, one a line.
 */
import { appendFileSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Client, type Clone, connect } from "@thinpool/sdk";
import { mustHold, record, recorded, step } from "./report.ts";
import { type TreeManifest, sha256, treeChecksum, treeManifest } from "./tree.ts";

const BASE = "base";
const CLONES = 10;
/** The two that stay mounted while the daemon is killed; the first is mounted twice. */
const KEPT_TWICE = "clone-1";
const KEPT_ONCE = "clone-2";

/** They outlive this program: a session's mounts would go with it. */
const LEASE = { holder: { type: "lease", ttlMs: 3_600_000 } } as const;

/** The file that each clone has more than its base. */
const ADDED = "only-here.txt";

const names = Array.from({ length: CLONES }, (_, index) => `clone-${index + 1}`);

/** Changes one file, adds one, removes one; gives the manifest that the clone must have after. */
function change(root: string, name: string, before: TreeManifest): TreeManifest {
  const files = [...before.keys()].filter((path) => path.endsWith("package.json")).toSorted();
  const [changed, removed] = files;
  mustHold(changed !== undefined && removed !== undefined, "the base holds a real tree");
  appendFileSync(join(root, changed), `\n// changed in ${name}\n`);
  rmSync(join(root, removed));
  writeFileSync(join(root, ADDED), `written by uid ${process.getuid?.()} in ${name}\n`);
  const after = new Map(before);
  after.delete(removed);
  after.set(changed, sha256(readFileSync(join(root, changed))));
  after.set(ADDED, sha256(readFileSync(join(root, ADDED))));
  return after;
}

async function fill(client: Client): Promise<void> {
  const clones: Clone[] = [];
  await step("clone", async () => {
    for (const name of names) clones.push(await client.clone({ origin: BASE, name }));
    return `${CLONES} clones of '${BASE}'`;
  });
  const mounts = new Map<string, { path: string; release(): Promise<unknown> }>();
  await step("mount", async () => {
    for (const clone of clones) {
      const isKept = [KEPT_TWICE, KEPT_ONCE].includes(clone.name);
      mounts.set(clone.name, await clone.mount(isKept ? LEASE : {}));
    }
    return `${CLONES} clones mounted for uid ${process.getuid?.()}`;
  });
  const pathOf = (name: string): string => {
    const path = mounts.get(name)?.path;
    mustHold(path !== undefined, `${name} is mounted`);
    return path;
  };
  let base: TreeManifest = new Map();
  const expected = new Map<string, TreeManifest>();
  await step("write", async () => {
    base = await treeManifest(pathOf(KEPT_TWICE));
    for (const name of names) expected.set(name, change(pathOf(name), name, base));
    return `in each clone one file changed, one added, one removed (of ${base.size})`;
  });
  await step("isolation", async () => {
    const seen = new Set<string>();
    for (const name of names) {
      const want = treeChecksum(expected.get(name) ?? new Map());
      mustHold(
        treeChecksum(await treeManifest(pathOf(name))) === want,
        `${name} holds its own changes only`,
      );
      seen.add(want);
    }
    mustHold(seen.size === CLONES, "no two clones are alike");
    return "every file of every clone as expected: no clone sees another's changes";
  });
  await step("count", async () => {
    const second = await client.mount({ device: KEPT_ONCE });
    mustHold(second.path === pathOf(KEPT_ONCE), "a second mount gives the same place");
    const first = await client.release({ reference: second.reference });
    mustHold(first.count === 1, "the first unmount keeps the clone mounted");
    const added = readFileSync(join(pathOf(KEPT_ONCE), ADDED), "utf8");
    mustHold(added.includes(KEPT_ONCE), "and readable");
    await mounts.get("clone-3")?.release();
    const left = await client.mounts();
    mustHold(!left.some((mount) => mount.device === "clone-3"), "the last unmount releases it");
    return "mounted twice: the first unmount keeps it, the second releases it";
  });
  await step("leave two", async () => {
    for (const name of names.slice(3)) await mounts.get(name)?.release();
    await client.mount({ device: KEPT_TWICE, ...LEASE });
    return `${KEPT_TWICE} stays mounted twice, ${KEPT_ONCE} once; the program ends`;
  });
}

async function finish(client: Client): Promise<void> {
  await step("recognise", async () => {
    const mounts = await client.mounts();
    const counts = mounts.map((mount) => `${mount.device} x${mount.count}`).toSorted();
    mustHold(
      counts.join(", ") === `${KEPT_TWICE} x2, ${KEPT_TWICE} x2, ${KEPT_ONCE} x1`,
      `both mounts and their counts are known (found: ${counts.join(", ")})`,
    );
    for (const mount of mounts) {
      const text = readFileSync(join(mount.path, ADDED), "utf8");
      mustHold(text.includes(mount.device), `${mount.device} still holds what was written`);
    }
    return "after SIGKILL the new daemon knows both mounts and their counts; the files are there";
  });
  await step("remove", async () => {
    for (const mount of await client.mounts()) await client.release({ reference: mount.reference });
    for (const name of names) await client.remove({ name });
    const left = await client.list();
    mustHold(!left.some((device) => names.includes(device.name)), "all clones are gone");
    return `${CLONES} clones unmounted and removed`;
  });
}

const phase = process.argv[2];
try {
  await using client = await connect();
  if (phase === "fill") await fill(client);
  else if (phase === "finish") await finish(client);
  else throw new Error(`usage: client.ts fill|finish, not '${phase}'`);
} catch (error) {
  record({
    step: "failed",
    what: error instanceof Error ? error.message : String(error),
    durationMs: 0,
  });
  process.exitCode = 1;
}
for (const report of recorded()) process.stdout.write(`${JSON.stringify(report)}\n`);

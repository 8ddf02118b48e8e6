/**
 * Clients without privileges, run by clients-soak.ts as
 * `client-fleet.ts UID GID SOCKET COUNT ROUND SEED fleet|victim`. Each clones, mounts, writes, verifies,
 * unmounts and removes over a connection of its own. Prints one line of JSON: how many lives went well,
 * and what went wrong in the others. A victim lives on until it is killed.
 */
import { createHash } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client } from "@thinpool/sdk";
import { connect, hasCode } from "@thinpool/sdk";
import { Random, seedOf } from "../crash/random.ts";

const [uid = "", gid = "", socketPath = "", count = "", round = "", seed = "", mode = ""] =
  process.argv.slice(2);
const MAX_FILE_BYTES = 64 * 1024;
/** Of one call: a fleet of two hundred waits for one disk. */
const TIMEOUT_MS = 600_000;
/**
 * Of a lease: a victim's must go soon. The others' must outlive the queue of a slow machine, where a renewal
 * waits behind the calls of two hundred.
 */
const LEASE_MS = mode === "victim" ? 20_000 : 120_000;
const MAX_CONNECTS = 10;
const CONNECT_PAUSE_MS = 1_000;

export interface FleetReport {
  readonly done: number;
  readonly lost: readonly string[];
  readonly failed: readonly string[];
}

function contents(random: Random): Buffer {
  const text = createHash("sha256").update(String(random.next())).digest("hex");
  return Buffer.from(text.repeat(1 + random.below(MAX_FILE_BYTES / text.length)));
}

async function writeDurably(path: string, bytes: Buffer): Promise<void> {
  const file = await open(path, "wx");
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A daemon whose worker for this user is slow to start says so, and is asked again. */
async function connectPatiently(): Promise<Client> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await connect({ socketPath, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      if (!hasCode(error, "DAEMON_UNREACHABLE") || attempt >= MAX_CONNECTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, CONNECT_PAUSE_MS));
    }
  }
}

/** One life; "lost" where what it wrote is not what it reads. */
async function live(index: number, random: Random): Promise<"done" | "lost"> {
  const name = `c-${uid}-${round}-${index}`;
  await using client = await connectPatiently();
  // A victim's clones must go without it; the others remove what they have made, or let it go.
  const ephemeral = mode === "victim" || random.chance(50);
  const clone = await client.clone({ origin: "base", name, ephemeral });
  const holder = random.chance(50)
    ? ({ type: "session" } as const)
    : ({ type: "lease", ttlMs: LEASE_MS } as const);
  const mount = await clone.mount({ holder });
  const bytes = contents(random);
  const path = join(mount.path, "file");
  await writeDurably(path, bytes);
  // A second reference, so that counting is part of it.
  const second = await clone.mount({ holder });
  await mount.release();
  const same = (await readFile(path)).equals(bytes);
  if (mode === "victim") {
    process.stdout.write("mounted\n");
    await new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS));
  }
  await second.release();
  if (!ephemeral) await clone.remove();
  return same ? "done" : "lost";
}

process.setgroups?.([Number(gid)]);
process.setgid?.(Number(gid));
process.setuid?.(Number(uid));

const lost: string[] = [];
const failed: string[] = [];
let done = 0;
await Promise.all(
  Array.from({ length: Number(count) }, async (_, index) => {
    const random = new Random(seedOf(Number(seed), Number(round) * 10_000 + Number(uid) + index));
    try {
      if ((await live(index, random)) === "done") done += 1;
      else lost.push(`client ${index} of uid ${uid} in round ${round}`);
    } catch (error) {
      failed.push(error instanceof Error ? error.message : String(error));
    }
  }),
);
const report: FleetReport = { done, lost, failed };
process.stdout.write(`${JSON.stringify(report)}\n`);

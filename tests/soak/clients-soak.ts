/**
 * `./run soak clients`: many clients at once against the real daemon, some of them killed by SIGKILL at
 * random moments. At the end no reference, mount, device or worker may be left, and the daemon's memory
 * and descriptors must be what they were. Runs as root in the lab; stdout gets the closing line, stderr
 * progress and findings.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connect } from "@thinpool/sdk";
import { createPool, linuxKernel, openPool } from "@thinpool/thinpool";
import { Random, seedOf } from "../crash/random.ts";
import { NODE_FLAGS, THINPOOLD } from "../lab/runtime.ts";
import type { FleetReport } from "./client-fleet.ts";

const FLEET = new URL("client-fleet.ts", import.meta.url).pathname;
const NODE = ["--disable-warning=ExperimentalWarning", ...NODE_FLAGS];
const BACKING = { type: "files", dataBytes: 4n << 30n, metadataBytes: 32n << 20n } as const;
const DEVICE_BYTES = 32n << 20n;
/** 64 KiB: a clone that is mounted and written to a little takes few blocks. */
const BLOCK_SECTORS = 128n;
const GROUP = { name: "users", gid: 100 };
const FIRST_UID = 2000;
/** The protocol allows 64 connections of one user. */
const MAX_CLIENTS_PER_UID = 50;
/** One client in so many is a process of its own that is killed. */
const CLIENTS_PER_VICTIM = 20;
/** In the first round. */
const WARM_CLIENTS = 40;
const MAX_VICTIM_LIFE_MS = 4_000;
const GRACE_SECONDS = 2;
/** How long what the killed ones held may take to go: their grace, their leases, and slow machines. */
const SETTLE_TIMEOUT_MS = 180_000;
const START_TIMEOUT_MS = 120_000;
/** The first connection of a user starts a worker: a slow machine takes its time. */
const CONNECT_TIMEOUT_MS = 600_000;
/** Of memory, beside what a garbage collector may leave for later. */
const MAX_GROWTH_BYTES = 48 << 20;
const MAX_GROWTH_FACTOR = 1.25;
/** A user namespace for an id map is kept per user, up to a limit of its own. */
const MAX_SPARE_DESCRIPTORS = 16;
const MAX_SHOWN = 20;

interface Totals {
  tried: number;
  lost: number;
  leaked: number;
  failed: number;
}

function say(text: string): void {
  process.stderr.write(`soak clients: ${text}\n`);
}

function whole(text: string, option: string): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(value)) throw new TypeError(`--${option} '${text}' is no whole number`);
  return value;
}

const { values } = parseArgs({
  options: {
    clients: { type: "string", default: "50" },
    minutes: { type: "string", default: "1" },
    rounds: { type: "string" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
  },
});
const clients = whole(values.clients, "clients");
const minutes = whole(values.minutes, "minutes");
const maxRounds = values.rounds === undefined ? Infinity : whole(values.rounds, "rounds");
const seed = whole(values.seed, "seed");
assert.ok(clients > 0 && clients <= 400, "--clients must be from 1 to 400");

const startedAtMs = performance.now();
const totals: Totals = { tried: 0, lost: 0, leaked: 0, failed: 0 };
let shown = 0;

function find(kind: "lost" | "leaked" | "failed", what: string): void {
  totals[kind] += 1;
  shown += 1;
  if (shown <= MAX_SHOWN) say(`${kind}: ${what}`);
}

const kernel = linuxKernel();
const parent = await mkdtemp("/tmp/thinpool-soak-");
const folder = join(parent, "pool");
const name = parent.slice("/tmp/".length);
const socketPath = `/run/thinpool/${name}.sock`;
const metricsPath = `/run/thinpool/${name}-metrics.sock`;

async function startDaemon(): Promise<ChildProcess> {
  const args = ["--folder", folder, "--socket", socketPath, "--socket-group", GROUP.name];
  args.push("--metrics", metricsPath, "--session-grace", String(GRACE_SECONDS));
  const child = spawn(process.execPath, [...NODE, THINPOOLD, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    log = (log + text).slice(-20_000);
    if (text.includes('"event":"started"')) resolve(undefined);
    for (const line of text.split("\n").filter((each) => each.includes('"level":"error"')))
      say(line);
  });
  child.once("exit", (code) => reject(new Error(`thinpoold ended with ${String(code)}:\n${log}`)));
  const timer = setTimeout(() => reject(new Error(`no start:\n${log}`)), START_TIMEOUT_MS);
  await promise;
  clearTimeout(timer);
  child.removeAllListeners("exit");
  return child;
}

/** The metrics without labels that have one series, and those with labels by name and labels. */
async function metrics(): Promise<ReadonlyMap<string, number>> {
  const call = request({ socketPath: metricsPath, path: "/metrics" }).end();
  const [response] = (await once(call, "response")) as [AsyncIterable<Buffer>];
  let text = "";
  for await (const part of response) text += part.toString();
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(" ");
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

function start(uid: number, count: number, round: number, mode: "fleet" | "victim"): ChildProcess {
  const words = [uid, GROUP.gid, socketPath, count, round, seed, mode].map(String);
  return spawn(process.execPath, [...NODE, FLEET, ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function fleet(uid: number, count: number, round: number): Promise<void> {
  const child = start(uid, count, round, "fleet");
  let text = "";
  child.stdout?.setEncoding("utf8").on("data", (part: string) => (text += part));
  const [code] = (await once(child, "close")) as [number | null];
  totals.tried += count;
  if (code !== 0) {
    find("failed", `the clients of uid ${uid} ended with ${String(code)}`);
    return;
  }
  const report = JSON.parse(text) as FleetReport;
  for (const what of report.lost) find("lost", what);
  for (const what of report.failed) find("failed", what);
}

/** Killed at a random moment: before it has connected, in the midst, or while it holds its mount. */
async function victim(uid: number, round: number, random: Random): Promise<void> {
  const child = start(uid, 1, round, "victim");
  const ended = once(child, "exit");
  const untilMounted = random.chance(50);
  const lifeMs = random.below(MAX_VICTIM_LIFE_MS);
  if (untilMounted && child.stdout !== null)
    await Promise.race([once(child.stdout, "data"), ended]);
  await new Promise((resolve) => setTimeout(resolve, lifeMs));
  child.kill("SIGKILL");
  await ended;
  totals.tried += 1;
}

async function oneRound(round: number, count: number): Promise<void> {
  const random = new Random(seedOf(seed, round));
  const victims = Math.max(1, Math.floor(count / CLIENTS_PER_VICTIM));
  const working: Promise<void>[] = [];
  let uid = FIRST_UID;
  for (let left = count - victims; left > 0; left -= MAX_CLIENTS_PER_UID) {
    working.push(fleet(uid, Math.min(left, MAX_CLIENTS_PER_UID), round));
    uid += 1;
  }
  for (let index = 0; index < victims; index += 1) {
    // Each its own user: what one leaves can be told from what another holds.
    working.push(victim(uid + index, round, random));
  }
  await Promise.all(working);
}

/** What must be gone once nobody is connected. */
async function leftovers(): Promise<readonly string[]> {
  const now = await metrics();
  const counts = Array.from(now).filter(
    ([key, value]) =>
      value !== 0 &&
      /^thinpool_(references|mounts|ephemeral_devices|sessions|workers|pool_active_devices)\b/.test(
        key,
      ),
  );
  const mounts = (await kernel.mounts.list()).filter(({ mountPoint }) =>
    mountPoint.startsWith("/run/thinpool/mounts/"),
  );
  return [
    ...counts.map(([key, value]) => `${key} ${value}`),
    ...mounts.map(({ mountPoint }) => `mount ${mountPoint}`),
  ];
}

async function settle(): Promise<void> {
  const deadline = performance.now() + SETTLE_TIMEOUT_MS;
  let left = await leftovers();
  while (left.length > 0 && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 500));
    left = await leftovers();
  }
  for (const what of left) find("leaked", what);
}

async function removeClones(): Promise<void> {
  await using root = await connect({ socketPath, timeoutMs: CONNECT_TIMEOUT_MS });
  for (const device of await root.list()) {
    if (device.name === "base") continue;
    find("leaked", `device ${device.name}`);
    await root.remove({ name: device.name });
  }
}

const pool = await createPool({ folder, kernel, backing: BACKING, blockSectors: BLOCK_SECTORS });
await pool.createDevice({ name: "base", sizeBytes: DEVICE_BYTES });
await pool.detach();
const daemon = await startDaemon();
{
  await using root = await connect({ socketPath, timeoutMs: CONNECT_TIMEOUT_MS });
  await root.rights.publish({ name: "base" });
}
const figures = async (): Promise<{ memoryBytes: number; descriptors: number }> => {
  const now = await metrics();
  return {
    memoryBytes: now.get("process_resident_memory_bytes") ?? NaN,
    descriptors: now.get("process_open_fds") ?? NaN,
  };
};

// The first round warms up: code is compiled, id maps are made, and all of it stays.
let round = 0;
await oneRound(round, Math.min(clients, WARM_CLIENTS));
await settle();
const before = await figures();
say(`warm: ${JSON.stringify(before)}`);
const end = startedAtMs + minutes * 60_000;
do {
  round += 1;
  await oneRound(round, clients);
  await settle();
  say(`round ${round}: ${JSON.stringify({ ...totals, ...(await figures()) })}`);
} while (performance.now() < end && round < maxRounds);
await removeClones();
await settle();
const after = await figures();
const mayBe = before.memoryBytes * MAX_GROWTH_FACTOR + MAX_GROWTH_BYTES;
if (!(after.memoryBytes <= mayBe)) find("leaked", `memory: ${after.memoryBytes} bytes`);
if (!(after.descriptors <= before.descriptors + MAX_SPARE_DESCRIPTORS)) {
  find("leaked", `descriptors: ${after.descriptors}`);
}

daemon.kill("SIGTERM");
const [code] = (await once(daemon, "exit")) as [number | null];
if (code !== 0) find("failed", `thinpoold ended with ${String(code)}`);
const reopened = await openPool({ folder, kernel });
await reopened.close();
for (const { name: device } of await kernel.dm.listDevices()) {
  if (device.includes(reopened.uuid.slice(0, 8))) find("leaked", `dm device ${device}`);
}
await rm(parent, { recursive: true, force: true });
await kernel[Symbol.asyncDispose]();
const seconds = Math.round((performance.now() - startedAtMs) / 1000);
const line = { soak: "clients", seed, clients, rounds: round, ...totals, before, after, seconds };
process.stdout.write(`${JSON.stringify(line)}\n`);
process.exitCode = totals.lost + totals.leaked + totals.failed === 0 ? 0 : 1;

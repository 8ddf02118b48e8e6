/**
 * `./run soak power`: a real kernel under load loses its power, again and again. What the guest
 * acknowledged is noted here, outside; the next boot on the same disk checks it and goes on.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { closingLine, type FindingKind, type Totals } from "./finding.ts";
import { POINT_MARKER, POINTS } from "./guest-points.ts";
import type { LoadRecord } from "./guest-check.ts";
import { compileForGuest, runInLab } from "./lab-process.ts";
import type { PowerTask } from "./power-guest.ts";
import { Random, seedOf } from "./random.ts";
import { soakOptions, wholeNumber } from "./soak-options.ts";
import { stopCode } from "./stop.ts";
import type { WorkerState } from "./worker-plan.ts";

const MEMORY_FOLDER = "/dev/shm";
/** What the guest flushed is in the host's page cache, so a tmpfs holds as well as a disk. */
const DISK = "384M";
const GUEST_MIB = 512;
/** Of one boot, which takes 15 s: a guest whose one thread waits in the kernel can't say that it hangs. */
const BOOT_TIMEOUT_SECONDS = 240;
/** Cuts by dm-flakey in each boot, before the guest is killed. */
const FLAKEY_PER_BOOT = 2;
/** After so many boots a disk is made anew. */
const BOOTS_PER_DISK = 8;
/** From the load's start to the cut, in ms, and how long a named point is waited for. */
const LOAD_MS = [50, 1500] as const;
const POINT_WAIT_MS = 4000;

const values = soakOptions({
  cuts: { type: "string", default: "30" },
  seed: { type: "string", default: String(Date.now() % 1_000_000) },
  guests: { type: "string", default: "2" },
});
const seed = wholeNumber(values.seed, "seed");
const cuts = wholeNumber(values.cuts, "cuts");
const guests = wholeNumber(values.guests, "guests");

const startedAtMs = performance.now();
const totals: Totals = { tried: 0, lost: 0, leaked: 0, failed: 0 };
const folder = mkdtempSync(join(MEMORY_FOLDER, "thinpool-power-"));
let begun = 0;
let boots = 0;

function report(kind: FindingKind, where: string, message: string): void {
  totals[kind] += 1;
  process.stderr.write(`soak power: ${kind}: ${where}: ${message}\n`);
}

interface Boot {
  readonly record: LoadRecord | undefined;
  readonly clean: boolean;
}

async function boot(disk: string, task: PowerTask, random: Random, where: string): Promise<Boot> {
  const workers: { state: WorkerState; acknowledged: number }[] = [];
  let clean = true;
  let phase = "its boot";
  let timer: NodeJS.Timeout | undefined;
  const onLine = (line: string, cut: () => void): void => {
    const [word = "", ...rest] = line.split(" ");
    if (word === "survived" || line.startsWith("cut flakey")) totals.tried += 1;
    else if (word === "phase") phase = rest.join(" ");
    else if (word === "checked") {
      const states = JSON.parse(rest.join(" ")) as readonly WorkerState[];
      workers.push(...states.map((state) => ({ state, acknowledged: 0 })));
    } else if (word === "acknowledged") {
      const worker = workers[Number(rest[0])];
      if (worker !== undefined) worker.acknowledged = Number(rest[1]);
    } else if (word === "loading") {
      const waitMs = task.point === undefined ? random.between(...LOAD_MS) : POINT_WAIT_MS;
      timer = setTimeout(cut, waitMs);
    } else if (word === "hangs") {
      clean = false;
      report("failed", where, `it hangs: ${JSON.parse(rest.join(" "))}`);
      cut();
    } else if (word === "finding") {
      const { kind, message } = JSON.parse(rest.join(" ")) as {
        kind: FindingKind;
        message: string;
      };
      clean = false;
      report(kind, where, message);
    }
  };
  const { exitCode, said } = await runInLab({
    memoryMiB: GUEST_MIB,
    timeoutSeconds: BOOT_TIMEOUT_SECONDS,
    options: ["--disk", `disk=${disk}:${DISK}`, "--cut-on", POINT_MARKER],
    program: "power-guest.ts",
    task,
    onLine,
  });
  clearTimeout(timer);
  // 137 and 143: the power went as it should. 0: nothing but a check was asked for.
  if (clean && ![0, 137, 143].includes(exitCode)) {
    clean = false;
    report("failed", where, `the guest ended with ${exitCode} in ${phase}: ${said}`);
  }
  if (workers.length === 0) return { record: undefined, clean };
  return { record: { seed: task.seed, workers, created: true }, clean };
}

/** One disk after another, each through some boots, until enough cuts were begun. */
async function lane(index: number): Promise<void> {
  const disk = join(folder, `disk-${index}`);
  let record: LoadRecord | undefined;
  let age = 0;
  while (begun < cuts && stopCode() === undefined) {
    boots += 1;
    const bootSeed = seedOf(seed, boots);
    const random = new Random(bootSeed);
    const flakeyCuts = Math.min(FLAKEY_PER_BOOT, cuts - begun - 1);
    begun += flakeyCuts + 1;
    const named = random.chance(60) ? random.pick(POINTS) : undefined;
    const point =
      named === undefined
        ? undefined
        : { name: named.name, times: random.between(1, named.mostPasses) };
    const fresh = record === undefined || age >= BOOTS_PER_DISK;
    age = fresh ? 1 : age + 1;
    const task: PowerTask = {
      device: "/dev/disk/lab/disk",
      seed: bootSeed,
      fresh,
      last: false,
      flakeyCuts,
      ...(record === undefined ? {} : { record }),
      ...(point === undefined ? {} : { point }),
    };
    const result = await boot(disk, task, random, `boot ${boots} of seed ${seed}`);
    process.stderr.write(
      `soak power: ${totals.tried} of ${cuts}; ${point?.name ?? "a random moment"}, ${
        result.record?.workers.map(({ acknowledged }) => acknowledged).join("+") ?? "no"
      } steps acknowledged\n`,
    );
    // What a finding left is no ground for another.
    record = result.clean ? result.record : undefined;
    if (record === undefined) rmSync(disk, { force: true });
  }
  if (record === undefined || stopCode() !== undefined) return;
  const task = { device: "/dev/disk/lab/disk", seed, fresh: false, last: true, flakeyCuts: 0 };
  await boot(disk, { ...task, record }, new Random(seed), `the last boot of guest ${index}`);
}

try {
  process.stderr.write(`soak power: ${cuts} cuts, seed ${seed}, ${guests} guests at once\n`);
  await compileForGuest("power-guest.ts");
  await Promise.all(Array.from({ length: guests }, (_, index) => lane(index)));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const exitCode = closingLine("power", seed, totals, startedAtMs);
process.exitCode = stopCode() ?? exitCode;

/**
 * What a call costs on its way through SDK, worker and daemon where no dm is touched, and how long the daemon's
 * event loop is held under load, on this machine's own kernel: in the lab each change of process costs a hundred times what it does here.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { type Client, connect } from "@thinpool/sdk";
import {
  askLoopDelay,
  type LoopDelay,
  LOOP_DELAY,
  loopDelayEnv,
} from "../daemon/ask-loop-delay.ts";
import { CONNECTIONS } from "../daemon/user-process.ts";
import type { Recorder } from "../record.ts";
import { CALLS, DEVICE, type EngineCalls, WARM_CALLS } from "./calls.ts";

export const ROUND_TRIP = "round-trip";
const DAEMON = new URL("daemon.ts", import.meta.url).pathname;
/** The young heap as thinpoold's own program has it: as a flag of Node's it makes it large at once. */
const DAEMON_PACKAGE = import.meta.resolve("@thinpool/mount-helper");
const YOUNG_HEAP = new URL(`young-heap${extname(DAEMON_PACKAGE)}`, DAEMON_PACKAGE).href;
const FLAGS = ["--disable-warning=ExperimentalWarning", "--import", YOUNG_HEAP];
const START_TIMEOUT_MS = 60_000;
const DAEMON_TIMEOUT_MS = 180_000;
const AT_A_TIME = 100;
/** Rounds of so many clones and their removals, some of which only warm up. */
const WARM_ROUNDS = 5;
const ROUNDS = 20;

export async function measureRoundTrip(recorder: Recorder): Promise<void> {
  recorder.say(`${ROUND_TRIP}: a call through SDK, worker and daemon on this machine's own kernel`);
  if (process.getuid?.() !== 0) {
    recorder.note(`${ROUND_TRIP} was not measured: the daemon's workers need root`);
    return;
  }
  const parent = mkdtempSync(join(tmpdir(), "thinpool-bench-native-"));
  const socketPath = join(parent, "run/thinpool.sock");
  const delayFile = join(parent, "loop-delay.json");
  const child = spawn(
    process.execPath,
    [...FLAGS, "--import", LOOP_DELAY, DAEMON, parent, socketPath],
    {
      stdio: ["ignore", "pipe", "inherit"],
      timeout: DAEMON_TIMEOUT_MS,
      env: { ...process.env, ...loopDelayEnv(delayFile) },
    },
  );
  const exited = once(child, "exit");
  try {
    const [line] = (await Promise.race([
      once(createInterface({ input: child.stdout }), "line"),
      exited.then(() => Promise.reject(new Error("the daemon did not start"))),
    ])) as [string];
    recorder.add("native-call/engine", "ms", ...(JSON.parse(line) as EngineCalls).ms);
    await using client = await connect({ socketPath, timeoutMs: START_TIMEOUT_MS });
    for (let call = 0; call < WARM_CALLS + CALLS; call += 1) {
      const start = performance.now();
      await client.get({ name: DEVICE });
      if (call >= WARM_CALLS) recorder.add("native-call/sdk", "ms", performance.now() - start);
    }
    await underLoad(recorder, socketPath, () => askLoopDelay(child, delayFile));
  } finally {
    child.kill("SIGTERM");
    await exited;
    rmSync(parent, { recursive: true, force: true });
  }
}

/** How long the daemon's event loop is held at most while so many ask for clones, and remove them, at a time. */
async function underLoad(
  recorder: Recorder,
  socketPath: string,
  delay: () => Promise<LoopDelay>,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const clients: Client[] = [];
  for (let index = 0; index < CONNECTIONS; index += 1) {
    clients.push(stack.use(await connect({ socketPath, timeoutMs: START_TIMEOUT_MS })));
  }
  for (let round = 0; round < WARM_ROUNDS + ROUNDS; round += 1) {
    const all = clients.flatMap((client, lane) =>
      Array.from({ length: AT_A_TIME / CONNECTIONS }, (_, index) => ({
        client,
        name: `r${round}-${lane}-${index}`,
      })),
    );
    await Promise.all(all.map(({ client, name }) => client.clone({ origin: DEVICE, name })));
    await Promise.all(all.map(({ client, name }) => client.remove({ name })));
    const { medianMs, p99Ms, maxMs, heldMs } = await delay();
    if (round < WARM_ROUNDS) continue;
    recorder.add("native-event-loop-delay-median/daemon", "ms", medianMs);
    recorder.add("native-event-loop-delay-p99/daemon", "ms", p99Ms);
    recorder.add("native-event-loop-delay-max/daemon", "ms", maxMs);
    recorder.add("native-event-loop-held-max/daemon", "ms", heldMs);
  }
}

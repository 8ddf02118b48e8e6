/**
 * What a call costs on its way through SDK, worker and daemon where no dm is touched, on this machine's
 * own kernel: in the lab each change of process costs a hundred times what it does here.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect } from "@thinpool/sdk";
import type { Recorder } from "../record.ts";
import { CALLS, DEVICE, type EngineCalls, WARM_CALLS } from "./calls.ts";

export const ROUND_TRIP = "round-trip";
const DAEMON = new URL("daemon.ts", import.meta.url).pathname;
const START_TIMEOUT_MS = 60_000;

export async function measureRoundTrip(recorder: Recorder): Promise<void> {
  recorder.say(`${ROUND_TRIP}: a call through SDK, worker and daemon on this machine's own kernel`);
  if (process.getuid?.() !== 0) {
    recorder.note(`${ROUND_TRIP} was not measured: the daemon's workers need root`);
    return;
  }
  const parent = mkdtempSync(join(tmpdir(), "thinpool-bench-native-"));
  const socketPath = join(parent, "run/thinpool.sock");
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", DAEMON, parent, socketPath],
    { stdio: ["ignore", "pipe", "inherit"], timeout: START_TIMEOUT_MS },
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
  } finally {
    child.kill("SIGTERM");
    await exited;
    rmSync(parent, { recursive: true, force: true });
  }
}

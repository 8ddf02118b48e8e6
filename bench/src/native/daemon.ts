/**
 * A daemon on this machine's own kernel, `daemon.ts FOLDER SOCKET`: real sockets and workers, a simulated
 * device-mapper, since the machine need not have one. Says on stdout what the engine's own call took.
 */
import { join } from "node:path";
import { createSimKernel } from "@thinpool/dm-sim";
import { jsonLogger, startDaemon } from "@thinpool/mount-helper";
import { createPool } from "@thinpool/thinpool";
import { CALLS, WARM_CALLS, DEVICE, type EngineCalls } from "./calls.ts";

const [parent = "", socketPath = ""] = process.argv.slice(2);
const folder = join(parent, "pool");
const kernel = createSimKernel();
const pool = await createPool({
  folder,
  kernel,
  backing: { type: "files", dataBytes: 512n << 20n, metadataBytes: 16n << 20n },
});
await pool.createDevice({ name: DEVICE, sizeBytes: 16n << 20n });
const ms: number[] = [];
for (let call = 0; call < WARM_CALLS + CALLS; call += 1) {
  const start = performance.now();
  pool.get({ name: DEVICE });
  if (call >= WARM_CALLS) ms.push(performance.now() - start);
}
await pool.detach();
const daemon = await startDaemon({
  folder,
  socketPath,
  kernel,
  mountRoot: join(parent, "mounts"),
  blockRoot: join(parent, "blocks"),
  logger: jsonLogger(() => undefined),
});
process.stdout.write(`${JSON.stringify({ ms } satisfies EngineCalls)}\n`);
process.once("SIGTERM", () => void daemon.stop());

import assert from "node:assert/strict";
import { once } from "node:events";
import { lstat, mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { PoolStatus, SpaceForecast } from "@thinpool/thinpool";
import { Metrics } from "./metrics.ts";
import { MetricsServer } from "./metrics-server.ts";
import { Counter, Histogram, gaugeLines } from "./text.ts";

const SILENT = { log: () => undefined };

function metricsOver(status: () => Promise<PoolStatus>): Metrics {
  return new Metrics({
    pool: { status },
    census: () => ({
      references: { session: 2, lease: 1, permanent: 0 },
      mounts: { mounted: 2, releasing: 1 },
      ephemerals: 4,
    }),
    sessions: () => ({ connected: 3, waiting: 0 }),
    workers: () => 5,
    logger: SILENT,
  });
}

test("counters, histograms and gauges as Prometheus reads them", () => {
  const counter = new Counter("c", "help");
  counter.add({ method: 'a"b\\c\nd' });
  counter.add({ method: 'a"b\\c\nd' });
  assert.deepEqual(counter.lines(), [
    "# HELP c help",
    "# TYPE c counter",
    'c{method="a\\"b\\\\c\\nd"} 2',
  ]);
  const histogram = new Histogram("h", "help", [1, 2]);
  for (const value of [0.5, 1, 1.5, 3]) histogram.observe({}, value);
  assert.deepEqual(histogram.lines().slice(2), [
    'h_bucket{le="1"} 2',
    'h_bucket{le="2"} 3',
    'h_bucket{le="+Inf"} 4',
    "h_sum 6",
    "h_count 4",
  ]);
  assert.deepEqual(gaugeLines("g", "help", []), []);
});

async function scrape(socketPath: string): Promise<string> {
  const call = request({ socketPath, path: "/metrics" }).end();
  const [response] = (await once(call, "response")) as [AsyncIterable<Buffer>];
  let text = "";
  for await (const part of response) text += part.toString();
  return text;
}

test("served on a socket for its owner only, whatever is asked, and without the pool as well", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "thinpool-metrics-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "metrics", "m.sock");
  const metrics = metricsOver(() => Promise.reject(new Error("sick")));
  metrics.observe({ method: "mount.create", outcome: "BUSY", seconds: 0.02 });
  const server = await MetricsServer.listen({ path }, metrics, SILENT);
  assert.equal((await lstat(path)).mode & 0o777, 0o600);
  const text = await scrape(path);
  for (const line of [
    'thinpool_operations_total{method="mount.create",outcome="BUSY"} 1',
    'thinpool_operation_duration_seconds_bucket{method="mount.create",le="0.025"} 1',
    'thinpool_references{holder="session"} 2',
    'thinpool_mounts{state="releasing"} 1',
    "thinpool_workers 5",
    "thinpool_pool_up 0",
  ]) {
    assert.ok(text.split("\n").includes(line), `${line} in\n${text}`);
  }
  const rude = createConnection(path);
  rude.end("\0\r\nnonsense");
  const [answer] = (await once(rude, "data")) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1.1 200 OK\r\n/);
  rude.destroy();
  await server.close();
  const again = await MetricsServer.listen({ path }, metrics, SILENT);
  await again.close();
  await rm(path, { force: true });
  await writeFile(join(folder, "file"), "");
  const inFile = MetricsServer.listen({ path: join(folder, "file", "m") }, metrics, SILENT);
  await assert.rejects(inFile, { code: "SOCKET_IN_USE" });
});

test("a pool that does not answer leaves the other figures", { timeout: 30_000 }, async () => {
  const metrics = metricsOver(() => new Promise<never>(() => undefined));
  const [first, second] = await Promise.all([metrics.text(), metrics.text()]);
  for (const text of [first, second]) {
    assert.match(text, /^thinpool_pool_up 0$/m);
    assert.match(text, /^thinpool_ephemeral_devices 4$/m);
  }
});

test("the time until the pool is full, where its use grows", async () => {
  const still: SpaceForecast = {
    growthBytesPerSecond: undefined,
    secondsToFull: undefined,
    secondsToExhausted: undefined,
    growthLimitBytes: 1n,
    growthLimitReason: "the policy",
  };
  const growing = {
    ...still,
    growthBytesPerSecond: 0.5,
    secondsToFull: 60,
    secondsToExhausted: 90,
  };
  // What the lines are made of; the rest of a status is not looked at.
  const status = { state: "working", space: { data: growing, metadata: still } } as PoolStatus;
  const lines = (await metricsOver(() => Promise.resolve(status)).text()).split("\n");
  const times = lines.filter((line) => line.startsWith("thinpool_pool_time"));
  assert.deepEqual(times, [
    'thinpool_pool_time_to_full_seconds{space="data"} 60',
    'thinpool_pool_time_to_exhausted_seconds{space="data"} 90',
  ]);
});

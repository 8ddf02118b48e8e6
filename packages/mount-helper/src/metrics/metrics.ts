/** What the daemon tells Prometheus. */
import { readdirSync } from "node:fs";
import type { PoolStatus, SpaceForecast, ThinPool } from "@thinpool/thinpool";
import type { EndedCall } from "../dispatch.ts";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { Census } from "../references/mount-service.ts";
import { Counter, Histogram, gaugeLines } from "./text.ts";

/** A sick pool may not answer: then its figures are missing, and the others are there. */
const POOL_TIMEOUT_MS = 2_000;

export interface MetricsParts {
  readonly pool: Pick<ThinPool, "status">;
  readonly census: () => Census;
  readonly sessions: () => { readonly connected: number; readonly waiting: number };
  readonly workers: () => number;
  readonly logger: Logger;
}

export class Metrics {
  readonly #parts: MetricsParts;
  readonly #operations = new Counter(
    "thinpool_operations_total",
    "Calls that have ended, by method and outcome: done, or an error code.",
  );
  readonly #durations = new Histogram(
    "thinpool_operation_duration_seconds",
    "From a call's arrival to its answer, its wait for its turn included.",
  );
  #status: Promise<PoolStatus | undefined> | undefined;

  constructor(parts: MetricsParts) {
    this.#parts = parts;
  }

  observe({ method, outcome, seconds }: EndedCall): void {
    this.#operations.add({ method, outcome });
    this.#durations.observe({ method }, seconds);
  }

  /** The whole text. Never rejects. */
  async text(): Promise<string> {
    const status = await this.#poolStatus();
    const lines = [
      ...this.#operations.lines(),
      ...this.#durations.lines(),
      ...this.#referenceLines(),
      ...poolLines(status),
      ...processLines(),
    ];
    return `${lines.join("\n")}\n`;
  }

  #referenceLines(): readonly string[] {
    const { references, mounts, ephemerals } = this.#parts.census();
    const { connected, waiting } = this.#parts.sessions();
    const by = (label: string, counts: Readonly<Record<string, number>>) =>
      Object.entries(counts).map(([key, value]) => ({ labels: { [label]: key }, value }));
    return [
      ...gaugeLines(
        "thinpool_references",
        "References that are held, by what holds them.",
        by("holder", references),
      ),
      ...gaugeLines("thinpool_mounts", "Mounts, by state.", by("state", mounts)),
      ...gaugeLines("thinpool_ephemeral_devices", "Devices that go with their last reference.", [
        { value: ephemerals },
      ]),
      ...gaugeLines(
        "thinpool_sessions",
        "Sessions, connected and waiting for their client to come back.",
        by("state", { connected, waiting }),
      ),
      ...gaugeLines("thinpool_workers", "Processes that serve connections, one for each user.", [
        { value: this.#parts.workers() },
      ]),
    ];
  }

  /** One question at a time: a pool that does not answer is not asked again and again. */
  async #poolStatus(): Promise<PoolStatus | undefined> {
    const { pool, logger } = this.#parts;
    this.#status ??= pool
      .status()
      .catch((error: unknown) => {
        logger.log("warn", "metrics-without-pool", { error: errorText(error) });
        return undefined;
      })
      .finally(() => {
        this.#status = undefined;
      });
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), POOL_TIMEOUT_MS);
    try {
      return await Promise.race([this.#status, promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}

function poolLines(status: PoolStatus | undefined): readonly string[] {
  const answered = gaugeLines("thinpool_pool_up", "1 where the pool has answered in time.", [
    { value: status === undefined ? 0 : 1 },
  ]);
  if (status === undefined) return answered;
  const gauge = (name: string, help: string, value: bigint | number): readonly string[] =>
    gaugeLines(`thinpool_pool_${name}`, help, [{ value: Number(value) }]);
  const { data, metadata } = status.space;
  const timeLines = (
    name: string,
    help: string,
    pick: (forecast: SpaceForecast) => number | undefined,
  ): readonly string[] =>
    gaugeLines(
      `thinpool_pool_${name}`,
      help,
      Object.entries({ data, metadata }).flatMap(([space, forecast]) => {
        const value = forecast === undefined ? undefined : pick(forecast);
        return value === undefined ? [] : [{ labels: { space }, value }];
      }),
    );
  return [
    ...answered,
    ...gaugeLines("thinpool_pool_state", "1 for the state that the pool is in.", [
      { labels: { state: status.state }, value: 1 },
    ]),
    ...gauge("data_used_bytes", "Data space that is mapped.", status.dataUsedBytes),
    ...gauge("data_total_bytes", "Data space.", status.dataTotalBytes),
    ...gauge("metadata_used_bytes", "Metadata space in use.", status.metadataUsedBytes),
    ...gauge("metadata_total_bytes", "Metadata space.", status.metadataTotalBytes),
    ...timeLines(
      "time_to_full_seconds",
      "At its present size and growth; absent where its use is not growing.",
      ({ secondsToFull }) => secondsToFull,
    ),
    ...timeLines(
      "time_to_exhausted_seconds",
      "With all the growth that is allowed and possible; absent as above.",
      ({ secondsToExhausted }) => secondsToExhausted,
    ),
    ...gauge("devices", "Devices in the pool.", status.deviceCount),
    ...gauge("active_devices", "Devices that have a node.", status.activeCount),
  ];
}

function processLines(): readonly string[] {
  const started = Date.now() / 1000 - process.uptime();
  return [
    ...gaugeLines("process_resident_memory_bytes", "Memory of the daemon's own process.", [
      { value: process.memoryUsage.rss() },
    ]),
    ...gaugeLines("process_open_fds", "Descriptors of the daemon's own process.", [
      { value: readdirSync("/proc/self/fd").length },
    ]),
    ...gaugeLines("process_start_time_seconds", "When it was started, since 1970.", [
      { value: Math.round(started) },
    ]),
  ];
}

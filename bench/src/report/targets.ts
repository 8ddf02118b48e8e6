/** The ratios, what was aimed at, and whether it was reached. */
import { median } from "../statistics.ts";
import type { Series } from "../record.ts";

export type AllSeries = Readonly<Record<string, Series>>;

export interface Target {
  /** Of the ratio, or of what else was aimed at. */
  readonly name: string;
  readonly what: string;
  readonly measured: number | undefined;
  /** Undefined: nothing is aimed at, it shows what is possible. */
  readonly wanted?: number;
  readonly better: "less" | "more";
  /** Undefined where this run did not measure it, or nothing is aimed at. */
  readonly met: boolean | undefined;
  /** The same with the start of the peer's processes taken off. */
  readonly withoutStarts?: number;
  readonly processes?: number;
}

/** 100 MB, rounded down. */
const ENGINE_MEMORY_MIB = 95;

export function medianOf(series: AllSeries, name: string): number | undefined {
  const samples = series[name]?.samples;
  return samples === undefined || samples.length === 0 ? undefined : median(samples);
}

function most(series: AllSeries, name: string): number | undefined {
  const samples = series[name]?.samples ?? [];
  return samples.length === 0 ? undefined : Math.max(...samples);
}

function ratio(above: number | undefined, below: number | undefined): number | undefined {
  return above === undefined || below === undefined ? undefined : above / below;
}

function difference(above: number | undefined, below: number | undefined): number | undefined {
  return above === undefined || below === undefined ? undefined : above - below;
}

/** How many processes a peer's operation starts: what the C program's starts in the kernel is no process. */
function processesOf(series: AllSeries, peer: string): number | undefined {
  const [all, bare] = [peer, "c"].map((name) =>
    medianOf(series, `snapshot-activate-processes/${name}`),
  );
  return all === undefined || bare === undefined ? undefined : all - bare;
}

function peerTarget(series: AllSeries, peer: string, name: string, wanted: number): Target {
  const [ours, theirs] = ["engine", peer].map((who) =>
    medianOf(series, `snapshot-activate/${who}`),
  );
  const measured = ratio(theirs, ours);
  const processes = processesOf(series, peer);
  const startMs = medianOf(series, "process-start");
  const bare =
    theirs === undefined || processes === undefined || startMs === undefined
      ? undefined
      : ratio(theirs - processes * startMs, ours);
  return {
    ...judged(name, `${peer}'s time over ours`, measured, wanted, "more"),
    ...(bare === undefined ? {} : { withoutStarts: bare }),
    ...(processes === undefined ? {} : { processes }),
  };
}

function judged(
  name: string,
  what: string,
  measured: number | undefined,
  wanted: number,
  better: "less" | "more",
): Target {
  const met =
    measured === undefined
      ? undefined
      : better === "less"
        ? measured <= wanted
        : measured >= wanted;
  return { name, what, measured, wanted, better, met };
}

/** On one kind of disk: ours over the C program's, and what the latter's is with a record that lasts. */
function pairTargets(series: AllSeries, kind: string, suffix: string, what: string): Target[] {
  const [engine, bare, recording] = ["engine", "c", "c-recording"].map((who) =>
    medianOf(series, `snapshot-activate-${kind}/${who}`),
  );
  const shown = { better: "less", met: undefined } as const;
  return [
    judged(
      `snapshot_activate_vs_c${suffix}`,
      `our time over the C program's, ${what}`,
      ratio(engine, bare),
      1.3,
      "less",
    ),
    {
      name: `c_recording_vs_c${suffix}`,
      what: "the same C program with a durable record and a free event loop over itself without",
      measured: ratio(recording, bare),
      ...shown,
    },
    {
      name: `snapshot_activate_vs_c_recording${suffix}`,
      what: "our time over the C program's with both",
      measured: ratio(engine, recording),
      ...shown,
    },
  ];
}

const OPERATIONS = ["snapshot-activate", "deactivate", "activate", "remove", "status"];

/** The operation that grows most from 10 to 10,000 devices: opening and listing excepted. */
function growth(series: AllSeries): number | undefined {
  const ratios = OPERATIONS.flatMap(
    (operation) =>
      ratio(
        medianOf(series, `growth-${operation}/10000`),
        medianOf(series, `growth-${operation}/10`),
      ) ?? [],
  );
  return ratios.length === 0 ? undefined : Math.max(...ratios);
}

export function targets(series: AllSeries): readonly Target[] {
  const of = (name: string): number | undefined => medianOf(series, name);
  return [
    ...pairTargets(series, "pair", "", "on a disk of the lab's"),
    ...pairTargets(series, "memory", "_in_memory", "in memory, where nothing is flushed"),
    ...pairTargets(series, "slow-flush", "_slow_flush", "on a disk whose flushes take 20 ms"),
    ...pairTargets(
      series,
      "second-kernel",
      "_second_kernel",
      "on a disk of Debian's own kernel, with two emulated CPUs",
    ),
    peerTarget(series, "dmsetup", "snapshot_activate_vs_dmsetup", 10),
    peerTarget(series, "containerd", "snapshot_activate_vs_containerd", 20),
    peerTarget(series, "lvm", "snapshot_activate_vs_lvm", 40),
    judged(
      "daemon_vs_engine",
      "a clone through the SDK over the engine's own snapshot",
      ratio(of("clone/daemon"), of("clone/engine")),
      1.5,
      "less",
    ),
    judged(
      "daemon_vs_engine_slow_flush",
      "the same on a disk whose flushes take 20 ms",
      ratio(of("clone-slow-flush/daemon"), of("clone-slow-flush/engine")),
      1.5,
      "less",
    ),
    judged(
      "throughput_100_vs_1",
      "clones a second, 100 at a time over one at a time",
      ratio(of("throughput/100"), of("throughput/1")),
      2,
      "more",
    ),
    judged(
      "cost_10000_vs_10",
      "an operation's time with 10,000 devices over 10",
      growth(series),
      1.2,
      "less",
    ),
    judged(
      "engine_memory_mib",
      "resident memory of a process with the engine alone, 10,000 devices, 1,000 of them active",
      of("growth-engine-memory/10000"),
      ENGINE_MEMORY_MIB,
      "less",
    ),
    judged(
      "open_10000_ms",
      "opening with 10,000 devices, 1,000 of them active",
      of("growth-open/10000"),
      1000,
      "less",
    ),
    judged(
      "cli_version_vs_node",
      "the start of `thinpool --version` over `node -e 0`",
      ratio(of("start/version"), of("start/node")),
      1.5,
      "less",
    ),
    judged(
      "cli_list_vs_node",
      "the start of a list by the daemon over `node -e 0`",
      ratio(of("start/list"), of("start/node")),
      2,
      "less",
    ),
    judged(
      "sdk_call_over_engine_ms",
      "a call through SDK, worker and daemon less the engine's own, where no dm is touched, outside the lab",
      difference(of("native-call/sdk"), of("native-call/engine")),
      0.3,
      "less",
    ),
    judged(
      "event_loop_delay_ms",
      "the longest turn of the daemon's event loop less its waiting for a CPU, 100 clones at a time, outside the lab",
      most(series, "native-event-loop-held-max/daemon"),
      10,
      "less",
    ),
  ];
}

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Series } from "../record.ts";
import { report, type Report } from "./report.ts";
import { reportText } from "./text.ts";

const ms = (...samples: number[]): Series => ({ unit: "ms", samples });
const count = (...samples: number[]): Series => ({ unit: "count", samples });
const machine = { kernel: "6.1", lab: "uml", cpu: "x", cpus: 1, memoryMiB: 1, node: "v24" };

function reportOf(series: Readonly<Record<string, Series>>): Report {
  return report({
    guest: { machine, seconds: {}, notes: [], series },
    host: { cpu: "x", cpus: 2, load: 0 },
    quick: true,
    seed: 1,
  });
}

test("the peer's median over ours, ours over the C program's; what was not measured is null", () => {
  const { ratios, further, targets } = reportOf({
    "snapshot-activate-pair/engine": ms(6, 5, 7),
    "snapshot-activate-pair/c": ms(5, 4, 9),
    "snapshot-activate-pair/c-recording": ms(7.5),
    "snapshot-activate/engine": ms(10),
    "snapshot-activate/dmsetup": ms(150),
    "snapshot-activate-processes/dmsetup": count(4),
    "snapshot-activate-processes/c": count(1),
    "process-start": ms(40),
  });
  assert.equal(ratios["snapshot_activate_vs_c"], 1.2);
  assert.equal(ratios["snapshot_activate_vs_dmsetup"], 15);
  // Three processes of 40 ms off 150 ms.
  assert.equal(further["snapshot_activate_vs_dmsetup_without_starts"], 3);
  assert.equal(ratios["snapshot_activate_vs_lvm"], null);
  // Nothing is aimed at: no verdict on what is possible.
  assert.equal(further["c_recording_vs_c"], 1.5);
  assert.equal(further["snapshot_activate_vs_c_recording"], 0.8);
  const met = Object.fromEntries(targets.map((target) => [target.name, target.met]));
  assert.equal(met["snapshot_activate_vs_c"], true);
  assert.equal(met["snapshot_activate_vs_dmsetup"], true);
  assert.equal(met["snapshot_activate_vs_lvm"], undefined);
  assert.equal(met["c_recording_vs_c"], undefined);
});

test("a missed target and an unfavourable figure are printed like any other", () => {
  const made = reportOf({
    "throughput/100": { unit: "per s", samples: [50, 40, 60] },
    "throughput/1": { unit: "per s", samples: [100] },
    "growth-remove/10": ms(2),
    "growth-remove/10000": ms(3),
    "growth-snapshot-activate/10": ms(4),
    "growth-snapshot-activate/10000": ms(4),
    "native-event-loop-held-max/daemon": ms(3, 25, 4),
    "native-call/sdk": ms(0.5, 0.25, 0.75),
    "native-call/engine": ms(0.125),
  });
  assert.equal(made.ratios["throughput_100_vs_1"], 0.5);
  // The worst operation, not the mean; the longest delay, not the median.
  assert.equal(made.ratios["cost_10000_vs_10"], 1.5);
  assert.equal(made.further["event_loop_delay_ms"], 25);
  assert.equal(made.further["sdk_call_over_engine_ms"], 0.375);
  const text = reportText(made);
  for (const name of ["throughput_100_vs_1", "cost_10000_vs_10", "event_loop_delay_ms"]) {
    assert.match(text, new RegExp(`^${name} .*MISSED`, "m"));
  }
  assert.match(text, /^throughput\/100 +per s +3 +50\.0 +45\.0 to 55\.0 +40\.0$/m);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import type { SpaceForecast } from "@thinpool/sdk";
import { type PoolOutlook, renderPoolStatus } from "./pool.ts";

const MIB = 1n << 20n;
const still: SpaceForecast = {
  growthBytesPerSecond: undefined,
  secondsToFull: undefined,
  secondsToExhausted: undefined,
  growthLimitBytes: 1n << 40n,
};
const filling = (secondsToFull: number, secondsToExhausted: number): SpaceForecast => ({
  ...still,
  growthBytesPerSecond: 1,
  secondsToFull,
  secondsToExhausted,
});
const pool: PoolOutlook = {
  uuid: "8c1f9a52-6f0e-4c37-9d1b-2f4f5f0f7a11",
  state: "working",
  transactionId: 17n,
  blockSizeBytes: 65_536n,
  dataUsedBytes: 160n * MIB,
  dataTotalBytes: 256n * MIB,
  metadataUsedBytes: 1n * MIB,
  metadataTotalBytes: 4n * MIB,
  lowWaterBytes: 32n * MIB,
  deviceCount: 3,
  activeCount: 1,
  backing: "loop",
  growth: {
    data: { enabled: true, stepBytes: 64n * MIB, ceilingBytes: 1024n * MIB },
    metadata: { enabled: true, stepBytes: 4n * MIB, ceilingBytes: undefined },
  },
  forecast: { monitored: true, data: filling(12_000, 200_000), metadata: still },
};

test("pool status is a picture: how full, how it grows, when it is full", () => {
  assert.equal(
    renderPoolStatus(pool, { bytes: false }),
    `uuid:         8c1f9a52-6f0e-4c37-9d1b-2f4f5f0f7a11
state:        working
data:         █████████████████████████░░░░░░░░░░┊░░░░
              160 MiB of 256 MiB (62.5%)
metadata:     ██████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
              1 MiB of 4 MiB (25.0%)
low water:    32 MiB
growth:       data by 64 MiB up to 1 GiB; metadata by 4 MiB, no ceiling
forecast:     data full in 3h 20m, with its growth in 2d 7h
block size:   64 KiB
devices:      3, 1 active
transaction:  17
backing:      loop (for trying out only)`,
  );
});

/** The two lines of it that tell of what is to come. */
function ahead(change: Partial<PoolOutlook>, bytes = false): readonly string[] {
  const lines = renderPoolStatus({ ...pool, ...change }, { bytes }).split("\n");
  return lines.filter((line) => /^(growth|forecast): /.test(line)).map((line) => line.slice(14));
}

test("growth: off for both or for one; exact sizes where they are asked for", () => {
  const { data, metadata } = pool.growth;
  const off = { ...metadata, enabled: false };
  assert.equal(ahead({ growth: { data: off, metadata: off } })[0], "off");
  assert.equal(
    ahead({ growth: { data, metadata: off } })[0],
    "data by 64 MiB up to 1 GiB; metadata off",
  );
  assert.equal(
    ahead({}, true)[0],
    "data by 67108864 up to 1073741824; metadata by 4194304, no ceiling",
  );
});

test("forecast: both, at once, far off, nothing; unknown with the reason", () => {
  const forecast = (data: SpaceForecast, metadata: SpaceForecast): string | undefined =>
    ahead({ forecast: { monitored: true, data, metadata } })[1];
  assert.equal(forecast(still, still), "nothing is foreseen");
  assert.equal(
    forecast(filling(90, 90), filling(0, 3600)),
    "data full in 1m 30s; metadata full now, with its growth in 1h",
  );
  assert.equal(forecast(still, filling(1e9, 2e9)), "metadata full in over a year");
  // Nothing can be written, so nothing grows: that it is full is known all the same.
  assert.equal(
    forecast({ ...still, secondsToFull: 0, secondsToExhausted: 0 }, still),
    "data full now",
  );
  assert.equal(forecast({ ...still, secondsToFull: 0 }, still), "data full now");
  const gone = { data: undefined, metadata: undefined };
  assert.equal(
    ahead({ forecast: { monitored: true, ...gone } })[1],
    "unknown: the pool does not work",
  );
  assert.deepEqual(ahead({ forecast: { ...pool.forecast, monitored: false } }), [
    "none: nothing watches the pool's space",
    "unknown: nothing watches the pool's space",
  ]);
});

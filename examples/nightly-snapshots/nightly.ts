/**
 * `nightly.ts DAILY WEEKLY DEVICE…`, once a night by cron or a timer: snapshots all the devices at one
 * moment, mounted or not, then removes the snapshots that are older than what is to be kept.
 * Killed at any point and run again the same day it does what is left to do.
 */
import type { Client } from "@thinpool/sdk";
import { connect, hasCode } from "@thinpool/sdk";
import type { Keep } from "./retention.ts";
import { outdated } from "./retention.ts";

/** Labels of a snapshot: the device's name, and the day in UTC. */
const OF = "nightly-of";
const DATE = "nightly-date";

/** Gives a line for each thing done. */
async function* nightly(
  client: Client,
  options: { readonly devices: readonly string[]; readonly date: string; readonly keep: Keep },
): AsyncGenerator<string> {
  const { devices, date, keep } = options;
  const there = new Set((await client.list()).map(({ name }) => name));
  const snapshots = devices
    .map((origin) => ({ origin, name: `${origin}.${date}` }))
    .filter(({ name }) => !there.has(name));
  if (snapshots.length > 0) {
    const { pauseMs } = await client.devices.snapshotMany({ snapshots });
    yield `${snapshots.length} made; writers waited ${Math.round(pauseMs)} ms`;
  }
  for (const origin of devices) {
    const labels = { [OF]: origin, [DATE]: date };
    await client.devices.update({ name: `${origin}.${date}`, labels });
  }
  for (const origin of devices) {
    const made = await client.list({ labels: { [OF]: origin } });
    const mine = made.map(({ name, labels }) => ({ name, date: labels?.[DATE] ?? "" }));
    for (const name of outdated(mine, keep)) {
      try {
        await client.remove({ name });
        yield `${name} removed`;
      } catch (error) {
        if (!hasCode(error, "BUSY")) throw error;
        yield `${name} is in use: left for the next night`;
      }
    }
  }
}

const [daily, weekly, ...devices] = process.argv.slice(2);
const keep = { daily: Number(daily), weekly: Number(weekly) };
if (devices.length === 0 || !(keep.daily >= 1) || !(keep.weekly >= 0)) {
  process.stderr.write("usage: nightly.ts DAILY WEEKLY DEVICE…\n");
  process.exit(2);
}
await using client = await connect();
const date = new Date().toISOString().slice(0, 10);
for await (const line of nightly(client, { devices, date, keep })) {
  process.stdout.write(`${line}\n`);
}

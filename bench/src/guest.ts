/** The benchmark itself, as root in the kernel that is measured: `guest.ts OPTIONS-JSON`. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { linuxKernel } from "@thinpool/thinpool";
import { guestMachine } from "./machine.ts";
import { Bare } from "./peers/bare.ts";
import { Recorder } from "./record.ts";
import type { GuestOptions, GuestResult } from "./result.ts";
import { chosenSections } from "./sections/index.ts";
import { roundsOf } from "./rounds.ts";
import { seeded } from "./statistics.ts";

/** Some 400,000 on the disk: more than all copies of a workspace have files. */
const BYTES_PER_INODE = 65_536;

/** The least that dm-delay adds to a flush: it counts in ticks, of 10 ms in User Mode Linux, and it adds two. */
const FLUSH_DELAY_MS = 1;

function deviceOf(variable: string): string {
  const device = process.env[variable];
  if (device === undefined) throw new Error(`the lab has not set ${variable}`);
  return device;
}

/** The device with flushes that take their time; reads and writes pass through. */
function withSlowFlushes(device: string): string {
  const name = "bench-slow-flushes";
  const sectors = execFileSync("blockdev", ["--getsz", device], { encoding: "utf8" }).trim();
  const table = `0 ${sectors} delay ${`${device} 0 0 `.repeat(2)}${device} 0 ${FLUSH_DELAY_MS}`;
  execFileSync("dmsetup", ["create", name, "--table", table]);
  return `/dev/mapper/${name}`;
}

/** An ext4 on one of the lab's disks. */
function mountDisk(device: string, at: string): string {
  // Nothing to discard on a new disk, and no inode tables that the kernel writes while we measure.
  execFileSync("mkfs.ext4", ["-q", "-F", "-E", "nodiscard", "-i", `${BYTES_PER_INODE}`, device]);
  mkdirSync(at);
  execFileSync("mount", ["-o", "noinit_itable", device, at]);
  return at;
}

const options = JSON.parse(process.argv[2] ?? "") as GuestOptions;
const started = performance.now();
const recorder = new Recorder((line) => {
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  process.stderr.write(`bench: ${seconds.padStart(4)} s  ${line}\n`);
});
const work = mkdtempSync("/tmp/bench-");
const disk = mountDisk(deviceOf("LAB_DISK_BENCH"), "/mnt/bench");
const slowDisk = mountDisk(withSlowFlushes(deviceOf("LAB_DISK_SLOW")), "/mnt/slow");
using bare = Bare.start(work);
const random = seeded(options.seed);
const seconds: Record<string, number> = {};
for (const section of chosenSections(options)) {
  recorder.say(`${section.name}: ${section.what}`);
  const memoryFolder = `${work}/${section.name}`;
  const folder = `${disk}/${section.name}`;
  const slowFolder = `${slowDisk}/${section.name}`;
  const folders = [memoryFolder, folder, slowFolder];
  for (const path of folders) mkdirSync(path);
  const start = performance.now();
  await using kernel = linuxKernel();
  const { quick } = options;
  const rounds = roundsOf(options);
  const places = { folder, memoryFolder, slowFolder };
  await section.run({ ...places, recorder, kernel, bare, quick, rounds, random });
  for (const path of folders) rmSync(path, { recursive: true, force: true });
  seconds[section.name] = Math.round((performance.now() - start) / 100) / 10;
  // After each section: a run that is cut short keeps what it has.
  const result: GuestResult = {
    machine: guestMachine(),
    seconds,
    notes: recorder.notes,
    series: recorder.series,
  };
  writeFileSync(options.resultFile, JSON.stringify(result));
}

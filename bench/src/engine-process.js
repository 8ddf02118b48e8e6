/**
 * A program with nothing but the engine in it: `engine-process.js FOLDER ORIGIN`. Opens the pool, works with
 * it, and prints its resident memory in MiB, and how much of it is its own: the rest are pages of files,
 * Node's program above all, which all processes share. JavaScript, as taking types off needs memory of its own.
 */
import { readFileSync } from "node:fs";
import { linuxKernel, openPool } from "@thinpool/thinpool";

const ROUNDS = 50;

const [folder = "", origin = ""] = process.argv.slice(2);
const kernel = linuxKernel();
const pool = await openPool({ folder, kernel });
for (let round = 0; round < ROUNDS; round += 1) {
  const name = `memory-${round}`;
  await pool.snapshot({ origin, name, activate: true });
  await pool.remove({ name });
}
const status = readFileSync("/proc/self/status", "utf8");
// proc(5): in KiB.
const mebibytes = (field) =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024;
process.stdout.write(`${mebibytes("VmRSS")} ${mebibytes("RssAnon")}\n`);
await pool.detach();
await kernel[Symbol.asyncDispose]();

/**
 * A program with nothing but the engine in it: `engine-process.js FOLDER ORIGIN`. Opens the pool, works with
 * it, and prints its resident memory in MiB. JavaScript, as taking types off needs memory of its own.
 */
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
process.stdout.write(`${process.memoryUsage.rss() / 2 ** 20}\n`);
await pool.detach();
await kernel[Symbol.asyncDispose]();

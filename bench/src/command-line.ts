/** What starting the built command line costs, beside Node itself, doing nothing. */
import type { Bench } from "./section.ts";
import { shuffled } from "./statistics.ts";

const PROGRAM = new URL("../../packages/cli/dist/bin.js", import.meta.url).pathname;

export async function startsOfCommandLine(bench: Bench, socketPath: string): Promise<void> {
  const { recorder, bare } = bench;
  const commands = {
    node: ["-e", "0"],
    version: [PROGRAM, "--version"],
    list: [PROGRAM, "device", "list", "--socket", socketPath],
  };
  const start = (name: keyof typeof commands): Promise<number> =>
    bare.spawn(process.execPath, ...commands[name]);
  // The first start reads the files from the host, and has the daemon start a worker.
  await start("list");
  for (const _ of bench.rounds({ quick: 3, full: 15, quickSeconds: 10 })) {
    for (const name of shuffled(["node", "version", "list"] as const, bench.random)) {
      recorder.add(`start/${name}`, "ms", await start(name));
    }
  }
}

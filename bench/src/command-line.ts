/** What starting the built command line costs, beside Node itself, doing nothing. */
import { GROUP } from "./daemon/thinpoold.ts";
import { USER_UID } from "./daemon/user-process.ts";
import type { Bench } from "./section.ts";
import { shuffled } from "./statistics.ts";

const PROGRAM = new URL("../../packages/cli/bundle/bin.js", import.meta.url).pathname;

export async function startsOfCommandLine(bench: Bench, socketPath: string): Promise<void> {
  const { recorder, bare } = bench;
  const commands = {
    node: ["-e", "0"],
    version: [PROGRAM, "--version"],
    list: [PROGRAM, "device", "list", "--socket", socketPath],
  };
  // As the user who has a worker already: else the daemon would start one within the first list.
  const as = [`--reuid=${USER_UID}`, `--regid=${GROUP.gid}`, "--clear-groups", process.execPath];
  const start = (name: keyof typeof commands): Promise<number> =>
    bare.spawn("/usr/bin/setpriv", ...as, ...commands[name]);
  // The first start reads the files from the host.
  await start("list");
  for (const _ of bench.rounds({ quick: 2, full: 15, quickSeconds: 10 })) {
    for (const name of shuffled(["node", "version", "list"] as const, bench.random)) {
      recorder.add(`start/${name}`, "ms", await start(name));
    }
  }
}

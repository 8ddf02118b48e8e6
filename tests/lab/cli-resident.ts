/** `thinpool` as one user, all commands in one process of his: see cli-resident-main.ts. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { CliResult, Runtime } from "../e2e/cli-process.ts";
import type { Command } from "./cli-resident-main.ts";

const TIMEOUT_MS = 60_000;

export interface Resident {
  /** One at a time. */
  run(args: readonly string[], env: Command["env"]): Promise<CliResult>;
  /** It died of a command. */
  isOver(): boolean;
  stop(): Promise<void>;
}

export function startResident(
  { node, repository }: Runtime,
  user: { readonly uid: number; readonly gid: number } | undefined,
): Resident {
  const child: ChildProcess = spawn(node, [join(repository, "tests/lab/cli-resident-main.ts")], {
    env: { PATH: process.env["PATH"] },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    ...user,
  });
  const ended = once(child, "exit");
  return {
    run: async (args, env) => {
      const answered = once(child, "message", { signal: AbortSignal.timeout(TIMEOUT_MS) });
      child.send({ args, env });
      const died = ended.then(() => {
        throw new Error(`thinpool ${args.join(" ")} ended its process`);
      });
      const [result] = (await Promise.race([answered, died])) as [CliResult];
      return result;
    },
    isOver: () => !child.connected,
    stop: async () => {
      if (child.connected) child.disconnect();
      await ended;
    },
  };
}

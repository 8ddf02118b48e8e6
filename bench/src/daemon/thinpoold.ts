/** thinpoold as a process of its own, built, as it runs on a server. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { askLoopDelay, type LoopDelay, LOOP_DELAY, loopDelayEnv } from "./ask-loop-delay.ts";

const MAIN = new URL("../../../packages/mount-helper/dist/main.js", import.meta.url).pathname;
const FLAGS = ["--disable-warning=ExperimentalWarning"];
/** Debian's "users"; any will do that the machine has. */
export const GROUP = { name: "users", gid: 100 } as const;
/** Everybody may clone every device of root's. */
const POLICY = {
  version: 1,
  rules: [{ name: "all", users: "all", allow: { clone: { names: ["*"] } } }],
};
const START_TIMEOUT_MS = 120_000;

export class Thinpoold implements AsyncDisposable {
  readonly socketPath: string;
  readonly #child: ChildProcess;
  readonly #delayFile: string;

  private constructor(child: ChildProcess, socketPath: string, delayFile: string) {
    this.#child = child;
    this.socketPath = socketPath;
    this.#delayFile = delayFile;
  }

  static async start(folder: string): Promise<Thinpoold> {
    const socketPath = `/run/thinpool/bench-${process.pid}.sock`;
    const delayFile = `/run/bench-loop-delay-${process.pid}`;
    const policyFile = `/run/bench-policy-${process.pid}.json`;
    writeFileSync(policyFile, JSON.stringify(POLICY), { mode: 0o600 });
    const child = spawn(
      process.execPath,
      [
        ...FLAGS,
        ...["--import", LOOP_DELAY, MAIN, "--folder", folder],
        ...["--socket", socketPath, "--socket-group", GROUP.name, "--policy", policyFile],
      ],
      {
        stdio: ["ignore", "ignore", "pipe"],
        env: { ...process.env, ...loopDelayEnv(delayFile) },
      },
    );
    let log = "";
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const timer = setTimeout(
      () => reject(new Error(`thinpoold did not start:\n${log}`)),
      START_TIMEOUT_MS,
    );
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log = (log + text).slice(-100_000);
      if (log.includes('"event":"started"')) resolve(undefined);
    });
    child.once("exit", (code) => reject(new Error(`thinpoold ended with ${code}:\n${log}`)));
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
    child.removeAllListeners("exit");
    return new Thinpoold(child, socketPath, delayFile);
  }

  /** Resident memory of the daemon and of the processes that it started, in MiB. */
  memoryMiB(): { readonly daemon: number; readonly workers: readonly number[] } {
    const pid = this.#child.pid ?? 0;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return {
      daemon: residentMiB(String(pid)),
      workers: children.trim().split(" ").filter(Boolean).map(residentMiB),
    };
  }

  /** Since the last time it was asked; the first time begins it. */
  loopDelay(): Promise<LoopDelay> {
    return askLoopDelay(this.#child, this.#delayFile);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    await exited;
  }
}

function residentMiB(pid: string): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) / 1024;
}

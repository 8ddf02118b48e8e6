/** The lab as a child process: its lines one by one, and its power in our hands. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { onStop } from "./stop.ts";

const ROOT: string = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

export interface LabRun {
  readonly memoryMiB: number;
  readonly timeoutSeconds: number;
  /** The lab's own options: disks, a scratch folder, a marker to cut on. */
  readonly options: readonly string[];
  /** A program of this folder, and what it is told. */
  readonly script: string;
  readonly task: unknown;
  readonly onLine: (line: string, cut: () => void) => void;
}

export interface LabEnd {
  readonly exitCode: number;
  /** stderr of command and lab. */
  readonly said: string;
}

/** Resolves when nothing of the guest is left. `cut` kills it on the spot, as a power cut does. */
export async function runInLab(run: LabRun): Promise<LabEnd> {
  const words = ["--memory", String(run.memoryMiB), "--timeout", String(run.timeoutSeconds)];
  const command = ["node", "--disable-warning=ExperimentalWarning"];
  const script = `${ROOT}/tests/crash/${run.script}`;
  const child = spawn(
    process.execPath,
    [
      `${ROOT}/lab/src/main.ts`,
      ...words,
      ...run.options,
      "--",
      ...command,
      script,
      JSON.stringify(run.task),
    ],
    { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] },
  );
  const cut = (): void => void child.kill("SIGTERM");
  const forget = onStop(cut);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-8000);
  });
  createInterface({ input: child.stdout }).on("line", (line) => run.onLine(line, cut));
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  }).finally(forget);
  return { exitCode, said };
}

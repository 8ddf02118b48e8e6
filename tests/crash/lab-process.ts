/** The lab as a child process: its lines one by one, and its power in our hands. */
import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { onStop } from "./stop.ts";

const ROOT: string = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

const NODE: readonly string[] = ["--disable-warning=ExperimentalWarning"];
/** Where the guest finds its program compiled; below the repository, which it sees read-only. */
const COMPILE_CACHE = `${ROOT}/node_modules/.cache/soak`;

/** The programs of this folder that run in the guest. */
export type GuestProgram = "power-guest.ts" | "flush-check-guest.ts" | "flush-record-guest.ts";

const programPath = (program: GuestProgram): string => `${ROOT}/tests/crash/${program}`;

/**
 * Compiles a guest's program here, which takes a tenth of a second; in User Mode Linux it takes more than
 * one, at every boot. A program without a task loads, and ends.
 */
export async function compileForGuest(program: GuestProgram): Promise<void> {
  await promisify(execFile)(process.execPath, [...NODE, programPath(program)], {
    env: { ...process.env, NODE_COMPILE_CACHE: COMPILE_CACHE },
  });
}

export interface LabRun {
  readonly memoryMiB: number;
  readonly timeoutSeconds: number;
  /** The lab's own options: disks, a scratch folder, a marker to cut on. */
  readonly options: readonly string[];
  readonly program: GuestProgram;
  /** What it is told. */
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
  const child = spawn(
    process.execPath,
    [
      `${ROOT}/lab/src/main.ts`,
      ...["--memory", String(run.memoryMiB), "--timeout", String(run.timeoutSeconds)],
      ...["--env", `NODE_COMPILE_CACHE=${COMPILE_CACHE}`],
      ...run.options,
      ...["--", "node", ...NODE, programPath(run.program), JSON.stringify(run.task)],
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

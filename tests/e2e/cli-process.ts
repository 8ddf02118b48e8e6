/** Runs `thinpool` as its users do: a process of its own, from the sources. */
import { spawn } from "node:child_process";
import { join } from "node:path";

const CLI = join(import.meta.dirname, "../../packages/cli/src/bin.ts");
/** One command; a mkfs in an emulated kernel is the slowest that one of them waits for. */
const TIMEOUT_MS = 60_000;

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Runs it as this user, in this group and no other; only root can. */
  readonly user?: { readonly uid: number; readonly gid: number };
}

export interface CliResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The arguments to Node that start the command. */
export function cliArguments(args: readonly string[]): string[] {
  return ["--conditions=source", CLI, ...args];
}

export async function thinpool(
  args: readonly string[],
  { env = {}, user }: CliOptions = {},
): Promise<CliResult> {
  const child = spawn(process.execPath, cliArguments(args), {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
    killSignal: "SIGKILL",
    ...user,
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", reject);
  child.once("close", resolve);
  const [stdout, stderr] = [child.stdout, child.stderr].map((stream) => {
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    return () => Buffer.concat(chunks).toString("utf8");
  });
  const exitCode = await promise;
  return { exitCode, stdout: stdout?.() ?? "", stderr: stderr?.() ?? "" };
}

/** An error as the conventions have it: one line, one hint, no stack, nothing on stdout. */
export const PLAIN_FAILURE: RegExp = /^Error: [^\n]+\.\nHint: [^\n]+\n$/;

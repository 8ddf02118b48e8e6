/** Runs `thinpool` as its users do: a process of its own, from its bundle (the step `build` makes it). */
import { spawn } from "node:child_process";
import { join } from "node:path";

const REPOSITORY = join(import.meta.dirname, "../..");
/** One command; a mkfs in an emulated kernel is the slowest that one of them waits for. */
const TIMEOUT_MS = 60_000;

export interface Runtime {
  readonly node: string;
  readonly repository: string;
}

const OWN_RUNTIME: Runtime = { node: process.execPath, repository: REPOSITORY };

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Runs it as this user, in this group and no other; only root can. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Node and the repository where that user can reach them; default: those of this process. */
  readonly runtime?: Runtime;
}

export interface CliResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The arguments to Node that start the command. */
export function cliArguments(
  args: readonly string[],
  { repository }: Runtime = OWN_RUNTIME,
): string[] {
  return [join(repository, "packages/cli/bundle/bin.js"), ...args];
}

export async function thinpool(
  args: readonly string[],
  { env = {}, user, runtime = OWN_RUNTIME }: CliOptions = {},
): Promise<CliResult> {
  const child = spawn(runtime.node, cliArguments(args, runtime), {
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
export const PLAIN_FAILURE: RegExp = /^Error: [^\n]+[.?]\nHint: [^\n]+\n$/;

/** Runs commands in this process, over a simulated kernel, and takes what they print. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { SimKernel } from "@thinpool/dm-sim";
import { replaceKernel } from "./kernel.ts";
import { exitCodes } from "./exit-codes.ts";
import { main } from "./main.ts";

/** A tmpfs: the kernel is simulated, and no commit need wait for a disk. */
export const MEMORY_FOLDER = "/dev/shm";

const SOURCES = join(import.meta.dirname, "..");

export interface Outcome {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Text is a command's; what the test runner tells its parent meanwhile is binary. */
function taken(stream: NodeJS.WriteStream): {
  readonly text: () => string;
  readonly stop: () => void;
} {
  let text = "";
  const write = stream.write.bind(stream);
  stream.write = (chunk: string | Uint8Array, ...rest: []) => {
    if (typeof chunk !== "string") return write(chunk, ...rest);
    text += chunk;
    return true;
  };
  return {
    text: () => text,
    stop: () => {
      stream.write = write;
    },
  };
}

/** As `thinpool ARGS` from `bin.ts`. */
export async function run(kernel: SimKernel, args: readonly string[]): Promise<Outcome> {
  replaceKernel(() =>
    Promise.resolve(
      Object.assign(Object.create(kernel) as SimKernel, {
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    ),
  );
  const [stdout, stderr] = [taken(process.stdout), taken(process.stderr)];
  const before = process.exitCode;
  process.exitCode = exitCodes.done;
  try {
    await main({
      argv: args,
      root: join(SOURCES, ".."),
      manifest: { name: "@thinpool/cli", version: "0.0.0" },
      target: join(SOURCES, "commands/index.ts"),
    });
  } finally {
    stdout.stop();
    stderr.stop();
  }
  const exitCode: number = process.exitCode ?? exitCodes.done;
  process.exitCode = before;
  return { exitCode, stdout: stdout.text(), stderr: stderr.text() };
}

export async function ok(kernel: SimKernel, args: readonly string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await run(kernel, args);
  assert.deepEqual([exitCode, stderr], [0, ""], args.join(" "));
  return stdout.trimEnd();
}

export async function json(kernel: SimKernel, args: readonly string[]): Promise<unknown> {
  return JSON.parse(await ok(kernel, [...args, "--json"])) as unknown;
}

/** One line and a hint on stderr; with --json the same code, and nothing on stderr. */
export async function refused(
  kernel: SimKernel,
  args: readonly string[],
  expected: { readonly exitCode: number; readonly code: string },
): Promise<string> {
  const text = await run(kernel, args);
  assert.match(text.stderr, /^Error: [^\n]+[.?]\nHint: [^\n]+\n$/, args.join(" "));
  assert.deepEqual([text.exitCode, text.stdout], [expected.exitCode, ""], text.stderr);
  const { stdout, stderr } = await run(kernel, [...args, "--json"]);
  const { error } = JSON.parse(stdout) as { error: { code: string; exitCode: number } };
  assert.deepEqual({ exitCode: error.exitCode, code: error.code }, expected);
  assert.equal(stderr, "");
  return text.stderr;
}

/**
 * Runs `thinpool` again and again in one process, from its bundle as its users do: its entry is evaluated
 * anew for each command, what that loads stays loaded. A start of Node takes seconds in an emulated kernel.
 */
import { join } from "node:path";
import type { CliResult } from "../e2e/cli-process.ts";

export interface Command {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const BIN = join(import.meta.dirname, "../../packages/cli/bundle/bin.js");
const ownEnvironment = { ...process.env };
let number = 0;

/** What is written to a stream until it is given back. */
function taken(stream: NodeJS.WriteStream): () => string {
  const chunks: Buffer[] = [];
  const write = stream.write.bind(stream);
  stream.write = (chunk: string | Uint8Array, ...rest: readonly unknown[]) => {
    chunks.push(Buffer.from(chunk));
    const done = rest.at(-1);
    if (typeof done === "function") process.nextTick(done);
    return true;
  };
  return () => {
    stream.write = write;
    return Buffer.concat(chunks).toString("utf8");
  };
}

async function run({ args, env }: Command): Promise<CliResult> {
  number += 1;
  // Not another object: the C library, too, is to see it.
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, ownEnvironment, env);
  process.argv = [process.execPath, BIN, ...args];
  process.exitCode = 0;
  const [stdout, stderr] = [taken(process.stdout), taken(process.stderr)];
  await import(`${BIN}?${number}`);
  const result = { exitCode: process.exitCode, stdout: stdout(), stderr: stderr() };
  process.exitCode = 0;
  return result;
}

process.on("message", (command: Command) => {
  void run(command).then((result) => process.send?.(result));
});
process.on("disconnect", () => process.exit());

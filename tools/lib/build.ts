import { runProcess } from "./run-process.ts";

/** Builds all packages; where it fails, says why and gives false. What is built already takes a second. */
export async function buildPackages(command: string): Promise<boolean> {
  const { exitCode, output } = await runProcess("node_modules/.bin/turbo", [
    "run",
    "build",
    "--output-logs=errors-only",
  ]);
  if (exitCode === 0) return true;
  process.stderr.write(`${output}\nrun ${command}: the build failed, see above\n`);
  return false;
}

import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { LabError } from "./lab-error.ts";

/** Folders of system programs: root's are often not on an ordinary user's PATH. */
const systemFolders = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/** Absolute path of a program; undefined where there is none. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(":"), ...systemFolders];
  return folders
    .filter((folder) => folder.startsWith("/"))
    .map((folder) => join(folder, name))
    .find((path) => isUsable(path, constants.X_OK));
}

export function isUsable(path: string, mode: number = constants.R_OK): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    // Not there and not allowed are the same answer: not usable.
    return false;
  }
}

/** stdout of a program. Throws {@link LabError} with the end of its output when it fails. */
export function runProgram(
  program: string,
  args: readonly string[],
  options: { cwd?: string; input?: string; env?: Record<string, string> } = {},
): Buffer {
  const { error, status, stdout, stderr } = spawnSync(findProgram(program) ?? program, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.input === undefined ? {} : { input: options.input }),
    env: { ...process.env, LC_ALL: "C", ...options.env },
    maxBuffer: 256 * 1024 * 1024,
  });
  if (error !== undefined) throw new LabError(`cannot run ${program}: ${error.message}`);
  if (status !== 0) {
    const said = Buffer.concat([stdout, stderr]).toString("utf8").trimEnd().slice(-2000);
    throw new LabError(`${[program, ...args].join(" ")} failed (${String(status)}):\n${said}`);
  }
  return stdout;
}

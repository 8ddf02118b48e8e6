/** Reading the policy file. It decides who may what, so nobody but root may be able to write it. */
import type { Stats } from "node:fs";
import { constants } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { lstat, open, realpath, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { accountNames } from "../accounts.ts";
import { StartError } from "../start-error.ts";
import { compilePolicy } from "./compile-policy.ts";
import type { PolicyFile } from "./policy-schema.ts";
import { checkPolicyFile } from "./policy-schema.ts";
import type { Policy } from "./rights.ts";

export const DEFAULT_POLICY_FILE = "/etc/thinpool/policy.json";
const MAX_FILE_BYTES: number = 1024 * 1024;
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

function invalid(path: string, reason: string, hint: string, cause?: unknown): StartError {
  return new StartError({ code: "POLICY_INVALID", object: path, reason, hint, cause });
}

/** A folder with the sticky bit (/tmp) may be written by others: what is root's in it stays root's. */
function isSafe(stats: Stats): boolean {
  const ownerIsTrusted = stats.uid === 0 || stats.uid === process.geteuid?.();
  const isSticky = stats.isDirectory() && (stats.mode & STICKY) !== 0;
  return ownerIsTrusted && (isSticky || (stats.mode & WRITABLE_BY_OTHERS) === 0);
}

function assertOnlyRootWrites(path: string, of: string, stats: Stats): void {
  if (isSafe(stats)) return;
  const mode = (stats.mode & 0o7777).toString(8);
  throw invalid(
    path,
    `others can change ${of}: owner ${stats.uid}, mode ${mode}`,
    `chown root:root and chmod go-w ${of}.`,
  );
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw invalid(
      path,
      reason,
      "Give the path of a file that is there, not of a link to one.",
      error,
    );
  }
}

async function readChecked(path: string): Promise<string> {
  await using file = await openFile(path);
  const stats = await file.stat();
  if (!stats.isFile() || stats.size > MAX_FILE_BYTES) {
    throw invalid(
      path,
      `it is no regular file of at most ${MAX_FILE_BYTES} bytes`,
      "Give the path of a policy file.",
    );
  }
  assertOnlyRootWrites(path, path, stats);
  for (let folder = dirname(await realpath(path)); ; folder = dirname(folder)) {
    assertOnlyRootWrites(path, folder, await stat(folder));
    if (folder === "/") break;
  }
  return file.readFile("utf8");
}

/** The path that was given, else the default one if there is a file, else undefined. */
export async function choosePolicyFile(given: string | undefined): Promise<string | undefined> {
  if (given !== undefined) return given;
  try {
    await lstat(DEFAULT_POLICY_FILE);
    return DEFAULT_POLICY_FILE;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** As the daemon takes it, and in the file's own words. */
export interface LoadedPolicy {
  readonly policy: Policy;
  readonly file: PolicyFile;
}

/** Rejects with StartError (POLICY_INVALID), which names all that is wrong at once. */
export async function readPolicyFile(path: string): Promise<LoadedPolicy> {
  const text = await readChecked(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw invalid(path, `it is no JSON: ${reason}`, "See docs/POLICY.md.", error);
  }
  const checked = checkPolicyFile(value);
  if (!checked.ok) throw invalid(path, checked.problems.join("; "), "See docs/POLICY.md.");
  const compiled = compilePolicy(checked.file, await accountNames());
  if (!compiled.ok) throw invalid(path, compiled.problems.join("; "), "See docs/POLICY.md.");
  return { policy: compiled.policy, file: checked.file };
}

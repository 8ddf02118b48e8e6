/**
 * A folder's content copied into an image: modes, owners, times, links, holes and users' extended
 * attributes. What would be dangerous in somebody else's hands does not come along: device nodes, pipes,
 * sockets, setuid and setgid programs, file capabilities.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { chmod, lstat, opendir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CommandError } from "./errors.ts";

const TAR = "/usr/bin/tar";
const SET_IDS = 0o6000;
/** Of what tar says; it repeats itself for each file. */
const MAX_REPORT_CHARACTERS = 2000;
/** Only what users set themselves: security.capability is a kind of setuid. */
const ATTRIBUTES = ["--xattrs", "--xattrs-include=user.*"];

export interface Measured {
  /** On the disk, without holes. */
  readonly bytes: bigint;
  readonly files: number;
}

/** Of the folder's own filesystem. */
export async function measureTree(folder: string): Promise<Measured> {
  let bytes = 0n;
  let files = 0;
  const { dev } = await lstat(folder);
  await walk(folder, async (path) => {
    const stats = await lstat(path);
    files += 1;
    if (stats.isFile()) bytes += BigInt(Math.min(stats.size, stats.blocks * 512));
    return stats.isDirectory() && stats.dev === dev;
  });
  return { bytes, files };
}

export interface Copied {
  readonly specialFilesLeftOut: number;
  readonly setIdsTaken: number;
}

/**
 * COPY_FAILED, with what tar said; PROGRAM_MISSING. `to` must be nobody else's to change meanwhile. tar
 * descends by descriptors and follows no link, so whoever may write to `from` can't lead it elsewhere.
 */
export async function copyTree(options: {
  readonly from: string;
  readonly to: string;
  readonly signal?: AbortSignal;
  readonly onBytes?: (bytes: number) => void;
}): Promise<Copied> {
  const { from, to, signal } = options;
  const common = ["--file=-", "--numeric-owner", ...ATTRIBUTES, "--directory"];
  const reader = tar(["--create", "--one-file-system", "--sparse", ...common, from, "."]);
  const writer = tar(["--extract", "--preserve-permissions", "--same-owner", ...common, to]);
  const ends = Promise.all([reader, writer].map(ended));
  // That a program is not there is known before anybody waits for its end.
  ends.catch(() => undefined);
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      options.onBytes?.(chunk.length);
      done(null, chunk);
    },
  });
  let broken: unknown;
  try {
    const { stdout } = reader;
    const { stdin } = writer;
    if (stdout === null || stdin === null) throw new Error("tar was started without its pipes");
    await pipeline(stdout, count, stdin, signal === undefined ? {} : { signal });
  } catch (error) {
    // Both programs end by their closed pipes, and how they ended tells what this was. The writer closes
    // its own at the archive's end mark, which may come before the last padding has left here.
    broken = error;
  }
  const reports = await ends;
  signal?.throwIfAborted();
  const failed = reports.find(({ code }) => code !== 0);
  if (failed !== undefined) {
    const said = failed.report;
    throw new CommandError({
      code: "COPY_FAILED",
      operation: "copy",
      object: from,
      reason: said === "" ? `tar ended with ${failed.code}` : said,
      hint: "Let nothing change in the folder meanwhile, and give the image enough space (--size).",
      cause: broken,
    });
  }
  return tame(to);
}

function tar(args: readonly string[]): ChildProcess {
  return spawn(TAR, [...args], { env: { LC_ALL: "C" }, stdio: ["pipe", "pipe", "pipe"] });
}

async function ended(
  child: ChildProcess,
): Promise<{ readonly code: number | null; readonly report: string }> {
  let report = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    report = (report + text).slice(0, MAX_REPORT_CHARACTERS);
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", reject);
  child.once("close", resolve);
  try {
    return { code: await promise, report: report.trim() };
  } catch (error) {
    throw new CommandError({
      code: "PROGRAM_MISSING",
      operation: "start",
      object: TAR,
      reason: error instanceof Error ? error.message : String(error),
      hint: "Install tar.",
      cause: error,
    });
  }
}

/** Done on the copy, which nobody else can change between the look and the deed. */
async function tame(folder: string): Promise<Copied> {
  let specialFilesLeftOut = 0;
  let setIdsTaken = 0;
  await walk(folder, async (path) => {
    const stats = await lstat(path);
    if (stats.isFile() && (stats.mode & SET_IDS) !== 0) {
      await chmod(path, stats.mode & 0o7777 & ~SET_IDS);
      setIdsTaken += 1;
    } else if (!stats.isFile() && !stats.isDirectory() && !stats.isSymbolicLink()) {
      await unlink(path);
      specialFilesLeftOut += 1;
    }
    return stats.isDirectory();
  });
  return { specialFilesLeftOut, setIdsTaken };
}

/** Everything below a folder; `visit` says whether to go into it. Without recursion: trees are deep. */
async function walk(folder: string, visit: (path: string) => Promise<boolean>): Promise<void> {
  const pending = [folder];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for await (const { name } of await opendir(next)) {
      const path = join(next, name);
      if (await visit(path)) pending.push(path);
    }
  }
}

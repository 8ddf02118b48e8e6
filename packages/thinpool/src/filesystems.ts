/** Makes and grows filesystems by the system's own tools: absolute path, empty environment, no shell. */
import { execFile } from "node:child_process";
import { access } from "node:fs/promises";
import { PoolError } from "./errors.ts";
import type { Filesystems, FilesystemType } from "./kernel.ts";
import { mkfsFlags, type MkfsOptions } from "./mkfs-options.ts";

/** A mkfs of an empty thin device takes a second or two; the rest is for a slow disk under load. */
export const MKFS_TIMEOUT_MS = 300_000;
const MAX_OUTPUT_BYTES = 64 * 1024;

/** Debian and Fedora have /usr/sbin; where /sbin is a folder of its own it is looked into as well. */
const FOLDERS = ["/usr/sbin", "/sbin"];
const PACKAGES: Readonly<Record<FilesystemType, string>> = { ext4: "e2fsprogs", xfs: "xfsprogs" };

/**
 * ext4: no discard of what is unmapped anyhow; no blocks kept back for root (-m 0), these are users'
 * clones. A new thin device reads as zeroes (the pool zeroes new blocks), so from e2fsprogs 1.47 on
 * mke2fs is told to take inode tables and journal as zeroed: nothing is written for them. Lazy
 * initialisation would leave that writing to the kernel after every mount of every clone: 160 MiB
 * each for a device of 10 GiB, that no clone shares. Older versions write them once, in the base.
 */
const EXT4_FIXED = ["-q", "-F", "-m", "0", "-E"];
const EXT4_PREZEROED = "nodiscard,assume_storage_prezeroed=1";
const EXT4_OLDER = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
/** xfs: -f, since the device was checked by us; -K, no discard of what is unmapped anyhow. */
const XFS_FIXED = ["-q", "-f", "-K"];

export class LinuxFilesystems implements Filesystems {
  async make(options: {
    readonly path: string;
    readonly type: FilesystemType;
    readonly options?: MkfsOptions;
    readonly signal?: AbortSignal;
  }): Promise<void> {
    const { path, type, signal } = options;
    signal?.throwIfAborted();
    const program = await findProgram(`mkfs.${type}`, type, path);
    const flags = type === "ext4" ? await ext4Flags(program) : XFS_FIXED;
    const result = await run(
      program,
      [...flags, ...mkfsFlags(type, options.options ?? {}), "--", path],
      signal,
    );
    if (result.code === 0) return;
    signal?.throwIfAborted();
    throw failed(
      `mkfs.${type}`,
      path,
      result,
      "Look at the message of mkfs: often the device is too small for this filesystem.",
    );
  }

  async grow(options: {
    readonly path: string;
    readonly type: FilesystemType;
    readonly mountPoint: string | undefined;
  }): Promise<void> {
    const { path, type, mountPoint } = options;
    if (type === "xfs") {
      if (mountPoint === undefined) throw notMounted(path);
      return runTool("xfs_growfs", type, ["-d", mountPoint]);
    }
    // -f: resize2fs wants a check right before; -p: what is safe to mend is mended.
    if (mountPoint === undefined) await runTool("e2fsck", type, ["-f", "-p", path], FSCK_FINE);
    return runTool("resize2fs", type, [path]);
  }
}

/** e2fsck(8): 1 is "errors were corrected". */
const FSCK_FINE: readonly number[] = [0, 1];

async function runTool(
  name: string,
  type: FilesystemType,
  args: readonly string[],
  fine: readonly number[] = [0],
): Promise<void> {
  const operand = args.at(-1) ?? "";
  const program = await findProgram(name, type, operand);
  const result = await run(program, [...args.slice(0, -1), "--", operand], undefined);
  if (typeof result.code === "number" && fine.includes(result.code)) return;
  throw failed(
    name,
    operand,
    result,
    "The device has its new size; look at the message, then ask for the same size again.",
  );
}

function notMounted(path: string): PoolError {
  return new PoolError({
    code: "POOL_UNSUPPORTED",
    operation: "xfs_growfs",
    object: path,
    reason: "xfs grows while it is mounted only",
    hint: "Mount it, then ask for the same size again.",
  });
}

function failed(operation: string, object: string, result: RunResult, hint: string): PoolError {
  return new PoolError({
    code: "POOL_KERNEL",
    operation,
    object,
    reason: lastLine(result.stderr) ?? `it ended with ${result.code}`,
    hint,
    cause: result.error,
  });
}

async function findProgram(name: string, type: FilesystemType, object: string): Promise<string> {
  for (const folder of FOLDERS) {
    try {
      await access(`${folder}/${name}`);
      return `${folder}/${name}`;
    } catch {
      // Not here: the next place. That none has it is the error below.
    }
  }
  throw new PoolError({
    code: "POOL_UNSUPPORTED",
    operation: name,
    object,
    reason: `this machine has no ${name} in ${FOLDERS.join(" or ")}`,
    hint: `Install the package ${PACKAGES[type]}.`,
  });
}

async function ext4Flags(program: string): Promise<readonly string[]> {
  // "mke2fs 1.47.0 (5-Feb-2023)", on stderr.
  const { stderr } = await run(program, ["-V"], undefined);
  const [, major, minor] = /mke2fs (\d+)\.(\d+)/.exec(stderr) ?? [];
  const prezeroed = Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 47);
  return [...EXT4_FIXED, prezeroed ? EXT4_PREZEROED : EXT4_OLDER];
}

interface RunResult {
  readonly code: number | string;
  readonly stderr: string;
  readonly error: Error | undefined;
}

function run(
  program: string,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      {
        env: {},
        cwd: "/",
        timeout: MKFS_TIMEOUT_MS,
        killSignal: "SIGKILL",
        maxBuffer: MAX_OUTPUT_BYTES,
        ...(signal === undefined ? {} : { signal }),
      },
      (error, _stdout, stderr) => {
        const code = error === null ? 0 : (error.code ?? error.signal ?? "an unknown failure");
        const end = (): void => resolve({ code, stderr, error: error ?? undefined });
        const hasEnded = child.exitCode !== null || child.signalCode !== null;
        // Of an abort we are told at once; but until the program has ended it has the device open.
        if (hasEnded || child.pid === undefined) end();
        else child.once("exit", end);
      },
    );
  });
}

function lastLine(text: string): string | undefined {
  return text.trim().split("\n").at(-1)?.trim() || undefined;
}

/** The programs of thin-provisioning-tools (0.9 in C++, 1.x in Rust: both are understood). */
import { type FileHandle, open, unlink } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { PoolError } from "../errors.ts";
import { readDelta } from "./delta-reader.ts";
import { withDataBlocks } from "./dump-header.ts";
import { readDump } from "./dump-reader.ts";
import { LIST_COLUMNS, readListLine } from "./list-reader.ts";
import type {
  BlockDifference,
  MetadataCheck,
  MetadataListing,
  MetadataSource,
  MetadataSuperblock,
  MetadataTools,
  ThinUsage,
} from "./metadata-tools.ts";
import {
  collect,
  findTool,
  type RunningTool,
  startTool,
  TOOL_FOLDERS,
  type ToolEnd,
  toolFailed,
  type ToolRun,
} from "./run-tool.ts";

/**
 * Exit codes don't tell damage from a device that could not be opened, and differ between versions
 * (1 or 64): these messages are about the device, the snapshot or the arguments, not the metadata.
 */
const NOT_ABOUT_METADATA =
  /couldn't (?:stat|open)|could ?n[o']t open|bad path|busy|permission denied|no such file|no (?:current )?metadata snap|usage:/i;
const DUMP_MODE = 0o600;

type Run = Omit<ToolRun, "program">;

export class LinuxMetadataTools implements MetadataTools {
  readonly #folders: readonly string[];
  readonly #stallMs: number | undefined;

  /**
   * `folders`: where the programs are looked for, absolute; Debian's by default. `stallMs`: only for tests,
   * in place of TOOL_STALL_MS.
   */
  constructor(options: { readonly folders?: readonly string[]; readonly stallMs?: number } = {}) {
    this.#folders = options.folders ?? TOOL_FOLDERS;
    this.#stallMs = options.stallMs;
  }

  async check(
    options: MetadataSource & { readonly clearNeedsCheck?: boolean },
  ): Promise<MetadataCheck> {
    const flags = [
      ...snapshotFlag(options),
      ...(options.clearNeedsCheck === true ? ["--clear-needs-check-flag"] : []),
    ];
    const { program, running } = await this.#start("thin_check", flags, options);
    const [printed, end] = await Promise.all([collect(running.stdout), running.end]);
    const report = [end.report, printed].filter((text) => text !== "").join("\n");
    if (end.code === 0) return { outcome: "clean", report };
    if (NOT_ABOUT_METADATA.test(report) || report === "") {
      throw toolFailed({ program, object: options.path }, failure(end, report));
    }
    return { outcome: "damaged", report };
  }

  async read(options: MetadataSource & { readonly mappings?: boolean }): Promise<MetadataListing> {
    const flags = [
      ...snapshotFlag(options),
      ...(options.mappings === true ? [] : ["--skip-mappings"]),
    ];
    const { program, running } = await this.#start("thin_dump", flags, options);
    return parsed(program, options.path, running, readDump(running.stdout));
  }

  async usage(options: MetadataSource): Promise<readonly ThinUsage[]> {
    const flags = [...snapshotFlag(options), "--no-headers", "--format", LIST_COLUMNS];
    const { program, running } = await this.#start("thin_ls", flags, options);
    return parsed(program, options.path, running, readList(running.stdout));
  }

  async *delta(
    options: MetadataSource & { readonly from: number; readonly to: number },
  ): AsyncGenerator<BlockDifference> {
    const flags = [
      ...snapshotFlag(options),
      "--snap1",
      String(options.from),
      "--snap2",
      String(options.to),
    ];
    const { program, running } = await this.#start("thin_delta", flags, options);
    let whole = false;
    try {
      yield* readDelta(running.stdout);
      whole = true;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      const end = await running.end;
      throw toolFailed({ program, object: options.path }, failure(end, error.message), error);
    } finally {
      if (!whole) running.kill();
    }
    await succeeded(program, options.path, running);
  }

  async dump(
    options: MetadataSource & { readonly file: string; readonly dataBlocks: bigint },
  ): Promise<void> {
    const file = await open(options.file, "wx", DUMP_MODE);
    try {
      await this.#dumpInto(file, options);
    } catch (error) {
      await unlink(options.file);
      throw error;
    } finally {
      await file.close();
    }
  }

  async #dumpInto(
    file: FileHandle,
    options: MetadataSource & { readonly dataBlocks: bigint },
  ): Promise<void> {
    const run = { object: options.path, signal: options.signal };
    const args = [...snapshotFlag(options), "--", options.path];
    const { program, running } = await this.#run("thin_dump", args, run);
    await file.writeFile(running.stdout.compose(withDataBlocks(options.dataBlocks)));
    await succeeded(program, options.path, running);
    await file.sync();
  }

  async restore(options: {
    readonly file: string;
    readonly path: string;
    readonly signal?: AbortSignal;
  }): Promise<void> {
    const args = ["-i", options.file, "-o", options.path];
    const run = { object: options.path, signal: options.signal };
    const { program, running } = await this.#run("thin_restore", args, run);
    await succeeded(program, options.file, running);
  }

  async repair(options: {
    readonly from: string;
    readonly to: string;
    readonly known: MetadataSuperblock;
    readonly signal?: AbortSignal;
  }): Promise<void> {
    const { known } = options;
    const files = ["-i", options.from, "-o", options.to];
    // Without the overrides first: they outrank a superblock that is whole.
    const overrides = [
      "--transaction-id",
      String(known.transactionId),
      "--data-block-size",
      String(known.blockSectors),
      "--nr-data-blocks",
      String(known.dataBlocks),
    ];
    const reports: string[] = [];
    for (const args of [files, [...overrides, ...files]]) {
      const run = { object: options.from, signal: options.signal };
      const { program, running } = await this.#run("thin_repair", args, run);
      const [printed, end] = await Promise.all([collect(running.stdout), running.end]);
      if (end.code === 0) return;
      const report = failure(end, printed);
      if (NOT_ABOUT_METADATA.test(report)) {
        throw toolFailed({ program, object: options.from }, report);
      }
      reports.push(report);
    }
    throw new PoolError({
      code: "POOL_NEEDS_REPAIR",
      operation: "thin_repair",
      object: options.from,
      reason: reports.join("; "),
      hint: "Put a backup of the metadata back.",
    });
  }

  #start(program: string, flags: readonly string[], options: MetadataSource) {
    const run = { object: options.path, signal: options.signal };
    return this.#run(program, [...flags, "--", options.path], run);
  }

  async #run(
    program: string,
    args: readonly string[],
    run: Omit<Run, "args">,
  ): Promise<{ readonly program: string; readonly running: RunningTool }> {
    const path = await findTool(program, this.#folders, run.object);
    return { program, running: startTool(path, { ...run, program, args, stallMs: this.#stallMs }) };
  }
}

function snapshotFlag(source: MetadataSource): readonly string[] {
  return source.snapshot === true ? ["--metadata-snap"] : [];
}

/** One line for people: the last that was printed says most. */
function failure(end: ToolEnd, other: string): string {
  const text = [other, end.report].filter((part) => part !== "").join("; ");
  return text === "" ? `it ended with ${end.code}` : text.replaceAll(/\s*\n\s*/g, "; ");
}

async function succeeded(program: string, object: string, running: RunningTool): Promise<void> {
  const end = await running.end;
  if (end.code !== 0) throw toolFailed({ program, object }, failure(end, ""));
}

async function parsed<T>(
  program: string,
  object: string,
  running: RunningTool,
  reading: Promise<T>,
): Promise<T> {
  try {
    const result = await reading;
    await succeeded(program, object, running);
    return result;
  } catch (error) {
    running.stdout.destroy();
    if (!(error instanceof SyntaxError || error instanceof RangeError)) {
      running.kill();
      throw error;
    }
    // What it printed makes no sense because it failed half-way: its own words say more.
    const end = await running.end;
    throw toolFailed({ program, object }, failure(end, error.message), error);
  }
}

async function readList(stdout: Readable): Promise<readonly ThinUsage[]> {
  const usages: ThinUsage[] = [];
  for await (const line of createInterface({ input: stdout, crlfDelay: Infinity })) {
    if (line.trim() !== "") usages.push(readListLine(line));
  }
  return usages;
}

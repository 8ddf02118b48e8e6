import { once } from "node:events";
import {
  existsSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { claimCpu } from "./cpu.ts";
import { linkDisks, prepareDisk } from "./disks.ts";
import { exitCodes, type LabEnd } from "./exit-codes.ts";
import { Guard, killGroup } from "./guard.ts";
import { planMounts, type HostFolders } from "./guest-mounts.ts";
import { controlFiles, guestScript, mountTable } from "./guest-script.ts";
import { LabError } from "./lab-error.ts";
import type { Machine, MachineKind } from "./machine.ts";
import { MarkerWatch } from "./marker-watch.ts";
import type { LabOptions } from "./options.ts";
import { commandPath, foldersToShow } from "./places.ts";
import { makeRunFolders, type RunFolders } from "./run-folders.ts";

/** The caller's ends of the run. */
export interface LabStreams {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** What the command reads; undefined: nothing. */
  readonly stdin?: Uint8Array;
  /** An interactive terminal, instead of all three. */
  readonly terminal?: { readonly input: Readable; readonly rows: number; readonly columns: number };
}

export interface LabResult {
  readonly exitCode: number;
  readonly end: LabEnd;
  /** One line on what went wrong; undefined when the command ended by itself. */
  readonly problem?: string;
  /** From the kernel's start to the command's start; undefined when it never came so far. */
  readonly bootMs?: number;
  readonly durationMs: number;
  /** The last 64 KiB of the kernel's console. */
  readonly console: string;
}

/** How often the control folder is looked at, in ms: no event tells of changes by the guest. */
const pollMs = 50;
/** Time for the guest to switch itself off once the command's exit code is there, in ms. */
const powerOffMs = 10_000;
const consoleBytes = 64 * 1024;

/**
 * Boots a kernel, runs the command, and returns when nothing of it is left on the host.
 *
 * `abort` ends the run at once. Throws {@link LabError} where the options can't be met; a failing
 * boot is a result with `end: "failed"`.
 */
export async function runGuest(
  kind: MachineKind,
  options: LabOptions,
  streams: LabStreams,
  abort: AbortSignal,
): Promise<LabResult> {
  for (const disk of options.disks) prepareDisk(disk);
  const scratch = checkScratch(options.scratch);
  const memoryMiB = options.memoryMiB ?? kind.defaultMemoryMiB;
  const folders = makeRunFolders(memoryMiB);
  const guard = new Guard([...new Set([folders.folder, folders.memory])]);
  const claim = kind.takesTurns ? await claimCpu() : undefined;
  try {
    writeControl(kind, options, streams, scratch, folders);
    const machine = kind.start({
      folder: folders.folder,
      control: folders.control,
      memoryFolder: folders.memory,
      ...(scratch === undefined ? {} : { scratch }),
      disks: linkDisks(options.disks, folders.folder),
      memoryMiB,
      ...(claim === undefined ? {} : { cpu: claim.cpu }),
    });
    const group = machine.process.pid;
    if (group !== undefined) guard.watch(group);
    return await follow(machine, options, streams, abort, folders.control);
  } finally {
    await guard.end();
    claim?.release();
  }
}

function checkScratch(scratch: string | undefined): string | undefined {
  if (scratch === undefined) return undefined;
  if (!existsSync(scratch) || !statSync(scratch).isDirectory())
    throw new LabError(`scratch folder ${scratch} does not exist`, "make it first");
  if (/[\s,]/.test(scratch))
    throw new LabError(`scratch folder '${scratch}' has a comma or white space in its path`);
  return realpathSync(scratch);
}

const host: HostFolders = {
  enterable: (path) => (statSync(path).mode & constants.S_IXOTH) !== 0,
  entries: (path) =>
    readdirSync(path, { withFileTypes: true }).map((entry) => ({
      name: entry.name,
      folder: entry.isDirectory(),
    })),
};

function writeControl(
  kind: MachineKind,
  options: LabOptions,
  streams: LabStreams,
  scratch: string | undefined,
  folders: RunFolders,
): void {
  const { terminal, stdin } = streams;
  if (stdin !== undefined) writeFileSync(join(folders.control, controlFiles.stdin), stdin);
  const mounts = planMounts(
    {
      show: foldersToShow(),
      cwd: options.cwd,
      ...(scratch === undefined ? {} : { scratch }),
    },
    host,
  );
  writeFileSync(join(folders.control, controlFiles.mounts), mountTable(mounts));
  const script = guestScript({
    kernel: kind.guest,
    control: folders.control,
    mounts,
    path: commandPath("/run/lab/bin"),
    env: { ...options.env, ...(scratch === undefined ? {} : { LAB_SCRATCH: scratch }) },
    cwd: options.cwd,
    command: options.command,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    udev: options.udev,
    disks: options.disks.map(({ name }, index) => ({ name, node: kind.diskNode(index) })),
    stdin: terminal ?? (stdin === undefined ? "none" : "file"),
  });
  writeFileSync(join(folders.control, controlFiles.init), script, { mode: 0o700 });
}

/** From the start of the kernel to its end, and why it ended. */
export async function follow(
  machine: Machine,
  options: LabOptions,
  streams: LabStreams,
  abort: AbortSignal,
  control: string,
): Promise<LabResult> {
  const begin = performance.now();
  let end: LabEnd | undefined;
  let problem: string | undefined;
  let bootMs: number | undefined;
  let poweringOffAt: number | undefined;
  const stop = (reason: LabEnd, why: string): void => {
    if (end !== undefined) return;
    end = reason;
    problem = why;
    if (machine.process.pid !== undefined) killGroup(machine.process.pid);
  };

  const tail = new ConsoleTail(options.verbose ? streams.stderr : undefined);
  for (const stream of machine.console) tail.read(stream);
  const { cutOn } = options;
  const stdout = streams.terminal === undefined ? machine.stdout : machine.terminal;
  if (cutOn !== undefined)
    for (const stream of [stdout, machine.stderr]) {
      const watch = new MarkerWatch(cutOn);
      stream.on("data", (chunk: Buffer) => {
        if (watch.seen(chunk)) stop("power-cut", `power cut on '${cutOn}'`);
      });
    }
  const ends = [
    carry(stdout, streams.stdout, () => stop("aborted", "nobody reads stdout")),
    carry(machine.stderr, streams.stderr, () => stop("aborted", "nobody reads stderr")),
  ];
  streams.terminal?.input.pipe(machine.terminal);

  const onAbort = (): void => stop("aborted", "interrupted");
  abort.addEventListener("abort", onAbort);
  if (abort.aborted) onAbort();
  const limit = setTimeout(
    () => stop("timeout", `time limit of ${options.timeoutSeconds} s passed`),
    options.timeoutSeconds * 1000,
  );
  let cut: NodeJS.Timeout | undefined;
  const poll = setInterval(() => {
    const now = performance.now();
    if (bootMs === undefined && existsSync(join(control, controlFiles.started))) {
      bootMs = now - begin;
      const { cutAfterMs } = options;
      if (cutAfterMs !== undefined)
        cut = setTimeout(
          () => stop("power-cut", `power cut ${cutAfterMs} ms after the command's start`),
          cutAfterMs,
        );
    }
    if (readExitCode(control) !== undefined) {
      poweringOffAt ??= now;
      // All is synced and said: a guest that can't switch itself off loses nothing.
      if (now - poweringOffAt > powerOffMs && machine.process.pid !== undefined)
        killGroup(machine.process.pid);
    }
  }, pollMs);

  try {
    const exited = once(machine.process, "exit");
    await exited.catch((error: unknown) => {
      stop("failed", `the kernel does not start: ${String(error)}`);
    });
    // Left-over processes of the group hold the streams open.
    if (machine.process.pid !== undefined) killGroup(machine.process.pid);
    await Promise.all(ends);
  } finally {
    clearTimeout(limit);
    clearTimeout(cut);
    clearInterval(poll);
    abort.removeEventListener("abort", onAbort);
    streams.terminal?.input.unpipe(machine.terminal);
  }

  const code = readExitCode(control);
  if (end === undefined && code === undefined) {
    end = "failed";
    problem =
      bootMs === undefined
        ? "the kernel ended before the command started"
        : "the kernel ended before the command did";
  }
  return {
    exitCode: end === undefined || end === "exit" ? (code ?? exitCodes.labFailed) : codeOfEnd[end],
    end: end ?? "exit",
    ...(problem === undefined ? {} : { problem }),
    ...(bootMs === undefined ? {} : { bootMs }),
    durationMs: performance.now() - begin,
    console: tail.text(),
  };
}

const codeOfEnd: Readonly<Record<Exclude<LabEnd, "exit">, number>> = {
  timeout: exitCodes.timeout,
  "power-cut": exitCodes.powerCut,
  aborted: exitCodes.interrupted,
  failed: exitCodes.labFailed,
};

/** The guest writes it whole with one write; an empty file is one not yet written. */
function readExitCode(control: string): number | undefined {
  const file = join(control, controlFiles.exitCode);
  if (!existsSync(file)) return undefined;
  const match = /^(\d+)\n$/.exec(readFileSync(file, "utf8"));
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** Passes all bytes on, at the reader's pace; the target stays open. */
async function carry(from: Readable, to: Writable, onGone: () => void): Promise<void> {
  from.pipe(to, { end: false });
  const gone = (): void => {
    from.unpipe(to);
    from.resume();
    onGone();
  };
  to.once("error", gone);
  // A reset is how a killed kernel's end of the channel may look.
  await finished(from, { writable: false }).catch(() => undefined);
  to.off("error", gone);
}

/** The end of what the console said. */
class ConsoleTail {
  readonly #echo: Writable | undefined;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(echo: Writable | undefined) {
    this.#echo = echo;
  }

  read(stream: Readable): void {
    stream.on("data", (chunk: Buffer) => {
      this.#echo?.write(chunk);
      this.#bytes = Buffer.concat([this.#bytes, chunk]).subarray(-consoleBytes);
    });
  }

  text(): string {
    return this.#bytes.toString("utf8").replaceAll("\r", "");
  }
}

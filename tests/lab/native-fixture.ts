/** What the kernel tests of loop, block devices and mounts share. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { LinuxLoopDevices, LinuxMounts } from "@thinpool/dm-native";
import type { LoopStatus } from "@thinpool/dm-native";
import { NODE_FLAGS } from "./runtime.ts";

/** In the name of every object that a test makes: only those are looked for at the end. */
export const SUFFIX: string = `${process.pid}-${randomBytes(3).toString("hex")}`;
export const MIB: number = 1024 * 1024;

const execute = promisify(execFile);

export async function run(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await execute(program, [...args], { encoding: "utf8" });
  return stdout;
}

/** A folder of the test's own; `remove` checks that nothing of it is left in use. */
export class Workspace {
  readonly folder: string;
  readonly loops: LinuxLoopDevices = new LinuxLoopDevices();
  readonly mounts: LinuxMounts = new LinuxMounts();
  #files = 0;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<Workspace> {
    return new Workspace(await mkdtemp(`/tmp/native-${SUFFIX}-`));
  }

  async sparseFile(sizeBytes: number): Promise<string> {
    this.#files += 1;
    const path = join(this.folder, `file${this.#files}`);
    const file = await open(path, "wx", 0o600);
    await file.truncate(sizeBytes);
    await file.close();
    return path;
  }

  async subfolder(name: string): Promise<string> {
    const path = join(this.folder, name);
    await mkdir(path);
    return path;
  }

  /** A loop device on a new sparse file with a filesystem in it. */
  async filesystem(type: "ext4" | "xfs", sizeBytes: number): Promise<LoopStatus> {
    const file = await this.sparseFile(sizeBytes);
    await run(`/usr/sbin/mkfs.${type}`, "-q", file);
    return this.loops.attach({ backingFile: file });
  }

  /** Mounts of this workspace that are left. */
  async leftMounts(): Promise<readonly string[]> {
    const mounts = await this.mounts.list();
    return mounts.map((entry) => entry.mountPoint).filter((path) => path.includes(SUFFIX));
  }

  /** Loop devices on files of this workspace that are left. */
  async leftLoops(): Promise<readonly string[]> {
    const names = (await readdir("/sys/block")).filter((name) => name.startsWith("loop"));
    const left: string[] = [];
    for (const name of names) {
      const path = `/sys/block/${name}/loop/backing_file`;
      const file = await readFile(path, "utf8").catch(() => "");
      if (file.includes(SUFFIX)) left.push(`/dev/${name}`);
    }
    return left;
  }

  /** Fails where a loop device or a mount is left; cleans up first, so that one failure stays one. */
  async remove(): Promise<void> {
    const mounts = await this.leftMounts();
    for (const path of mounts.toReversed()) await this.mounts.unmount(path, { lazy: true });
    await this.loops.close();
    const loops = await this.leftLoops();
    for (const path of loops) await this.loops.detach(path);
    await this.mounts.close();
    await rm(this.folder, { recursive: true });
    assert.deepEqual({ mounts, loops }, { mounts: [], loops: [] }, "something was left");
  }
}

export interface ChildOutcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The tests' folder: a child's imports are resolved from here. */
const TESTS_FOLDER = join(import.meta.dirname, "..");

export function startModule(code: string, ...args: readonly string[]): ChildProcess {
  const flags = [...NODE_FLAGS, "--input-type=module", "-e", code, ...args];
  return spawn(process.execPath, flags, { cwd: TESTS_FOLDER, stdio: ["pipe", "pipe", "pipe"] });
}

export function outcomeOf(child: ChildProcess): Promise<ChildOutcome> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** Resolves at the child's first output, or at its end. */
export function firstOutput(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.stdout?.once("data", () => resolve());
    child.once("close", () => resolve());
  });
}

/**
 * Runs the code as uid and gid 1000 without further groups. The rights are dropped inside: the
 * program's own files may lie where that user may not read.
 */
export async function runAsUser(
  imports: string,
  code: string,
  ...args: readonly string[]
): Promise<ChildOutcome> {
  const drop = "process.setgroups([]); process.setgid(1000); process.setuid(1000);";
  const child = startModule(`${imports}\n${drop}\n${code}`, ...args);
  return outcomeOf(child);
}

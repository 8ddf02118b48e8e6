import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "./commands.ts";
import { LabError } from "./lab-error.ts";
import { cacheFolder } from "./places.ts";

const source = new URL("uml-registers.c", import.meta.url).pathname;

/** AMX has by far the largest registers; all others together still fit. */
const tooLarge = /^flags\s*:.*\bamx_tile\b/m;

/**
 * Whether this machine's processor has more registers than User Mode Linux can keep, so that it needs
 * {@link registersLibrary}; without it the guest's first process dies ("ptrace set fp regs failed, errno = 14").
 */
export function registersTooLarge(
  cpuinfo: string = readFileSync("/proc/cpuinfo", "utf8"),
): boolean {
  return tooLarge.test(cpuinfo);
}

/** Where the library is, once {@link prepareRegisters} has made it: another source, another name. */
export function registersLibrary(): string {
  const hash = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 16);
  return join(cacheFolder(), `uml-registers-${hash}.so`);
}

/** Compiles the library where the processor needs it and the cache has none. */
export function prepareRegisters(say: (line: string) => void): void {
  if (!registersTooLarge()) return;
  const library = registersLibrary();
  if (/[\s:]/.test(library))
    throw new LabError(
      `the cache's folder ${cacheFolder()} has white space or a colon in its path`,
      "set XDG_CACHE_HOME to another one: LD_PRELOAD can't name a file in it",
    );
  if (existsSync(library)) return;
  say("compiling what User Mode Linux lacks for this processor");
  mkdirSync(cacheFolder(), { recursive: true });
  // Beside its final place: a rename makes it appear whole or not at all.
  const work = mkdtempSync(join(cacheFolder(), "compiling-"));
  try {
    const made = join(work, "library.so");
    runProgram("gcc", [
      "-O2",
      "-Wall",
      "-Wextra",
      "-Werror",
      "-shared",
      "-fPIC",
      "-o",
      made,
      source,
    ]);
    renameSync(made, library);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import type { RunCommand } from "../lib/command.ts";
import { ROOT } from "../lib/command.ts";
import { runProcess } from "../lib/run-process.ts";

interface Mutant {
  readonly what: string;
  readonly file: string;
  readonly search: string;
  readonly replace: string;
  readonly test?: { readonly file: string; readonly name?: string };
}

/** What of the tree the tests need; the rest of a copy would only cost time. */
const COPIED: readonly string[] = ["packages", "tests", "package.json", "tsconfig.base.json"];
/** Histories until a mutant counts as survived; most are caught within a hundred. */
const HISTORIES = 3000;
const MAX_LANES = 2;
/** A damage may also show as a test that hangs. The slowest takes a third of it. */
const TEST_TIMEOUT_MS = 180_000;
/** Of the histories, until one finds it. */
const SOAK_TIMEOUT_MS = 600_000;

/** A copy whose packages are its own and whose dependencies are this tree's. */
function copyTree(): string {
  const copy = mkdtempSync(join(tmpdir(), "thinpool-mutants-"));
  for (const name of COPIED) {
    cpSync(join(ROOT, name), join(copy, name), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => basename(path) !== "dist",
    });
  }
  symlinkSync(join(ROOT, "node_modules"), join(copy, "node_modules"));
  return copy;
}

/** True where the test fails, for a reason that is a finding and not a broken program. */
async function isCaught(copy: string, mutant: Mutant, seed: string): Promise<boolean> {
  const node = ["--disable-warning=ExperimentalWarning", "--conditions=source"];
  const args =
    mutant.test === undefined
      ? [
          join(copy, "tests/crash/crash-soak.ts"),
          ...["--histories", String(HISTORIES), "--seed", seed, "--workers", "1", "--until-found"],
        ]
      : [
          ...(mutant.test.name === undefined ? [] : [`--test-name-pattern=${mutant.test.name}`]),
          // In the one process, so that its end is the test's.
          ...["--test-isolation=none", "--test", join(copy, mutant.test.file)],
        ];
  const { exitCode, output } = await runProcess(process.execPath, [...node, ...args], {
    timeoutMs: mutant.test === undefined ? SOAK_TIMEOUT_MS : TEST_TIMEOUT_MS,
  });
  if (exitCode === 0) return false;
  // The crash tests fail by a check of theirs; a program that does not even load has none.
  const ran =
    mutant.test === undefined
      ? /"tried":[1-9]/.test(output)
      : !/SyntaxError|ERR_MODULE_NOT_FOUND/.test(output);
  if (!ran) throw new Error(`${mutant.what}: the test did not run:\n${output.slice(-4000)}`);
  return true;
}

async function judge(copy: string, mutant: Mutant, seed: string): Promise<boolean> {
  const path = join(copy, mutant.file);
  const source = readFileSync(path, "utf8");
  if (source.split(mutant.search).length !== 2) {
    throw new Error(
      `${mutant.what}: its text is not once in ${mutant.file}: tests/crash/mutants.ts is behind the source`,
    );
  }
  writeFileSync(
    path,
    source.replace(mutant.search, () => mutant.replace),
  );
  try {
    return await isCaught(copy, mutant, seed);
  } finally {
    writeFileSync(path, source);
  }
}

function closingLine(mutants: number, caught: number): string {
  return `${JSON.stringify({ mutants, caught, survived: mutants - caught })}\n`;
}

export const mutants: RunCommand = {
  summary: "remove each fsync, step of recovery and guard in turn: a test must fail [--only WORD]",
  async run(args) {
    const { values } = parseArgs({
      args: [...args],
      options: { seed: { type: "string", default: "1" }, only: { type: "string", default: "" } },
    });
    const list = (await import(join(ROOT, "tests/crash/mutants.ts"))) as {
      readonly MUTANTS: readonly Mutant[];
    };
    const chosen = list.MUTANTS.filter(({ what, file }) =>
      `${file}: ${what}`.includes(values.only),
    );
    const lanes = Math.min(MAX_LANES, availableParallelism());
    // What fails anyhow would catch everything: each test that is to fail must pass without a mutant.
    const whole = chosen.map(({ test }) => ({
      what: "nothing",
      file: "",
      search: "",
      replace: "",
      ...(test === undefined ? {} : { test }),
    }));
    const sound = [...new Map(whole.map((none) => [JSON.stringify(none.test), none])).values()];
    const copies = Array.from({ length: lanes }, () => copyTree());
    let [caught, failing] = [0, 0];
    const shared = async <T>(
      items: readonly T[],
      work: (copy: string, item: T) => Promise<void>,
    ): Promise<void> => {
      const left = items.values();
      await Promise.all(
        copies.map(async (copy) => {
          for (const item of left) await work(copy, item);
        }),
      );
    };
    try {
      await shared(sound, async (copy, none) => {
        if (!(await isCaught(copy, none, values.seed))) return;
        failing += 1;
        const { file, name = "" } = none.test ?? { file: "the crash soak" };
        process.stderr.write(`run mutants: ${file} ${name} fails without any mutant\n`);
      });
      if (failing > 0) {
        // None was judged: what is not caught counts as survived.
        process.stdout.write(closingLine(chosen.length, 0));
        return 1;
      }
      await shared(chosen, async (copy, mutant) => {
        const isSeen = await judge(copy, mutant, values.seed).catch((error: unknown) => {
          process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
          return false;
        });
        if (isSeen) caught += 1;
        process.stderr.write(`${isSeen ? "caught  " : "SURVIVED"} without: ${mutant.what}\n`);
      });
    } finally {
      for (const copy of copies) rmSync(copy, { recursive: true, force: true });
    }
    process.stdout.write(closingLine(chosen.length, caught));
    return caught === chosen.length && chosen.length > 0 ? 0 : 1;
  },
};

/**
 * The packages as a consumer meets them: packed, checked, installed with npm in an empty folder,
 * imported, type-checked.
 *
 *     turbo run build && node tools/check-packages.ts [--keep]
 *
 * Prints a table and what is wrong, and exits 1 if anything is. `--keep` leaves the folder for a look.
 */
import { execFile } from "node:child_process";
import { createRequire, isBuiltin } from "node:module";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseArgs, promisify, stripVTControlCharacters } from "node:util";
import { publint } from "publint";
import { formatMessage } from "publint/utils";

const root = join(import.meta.dirname, "..");
const packagesFolder = join(root, "packages");
/** One step may not take longer: npm's install is the longest, some seconds with a warm cache. */
const STEP_TIMEOUT_MS = 120_000;
const MAX_OUTPUT_BYTES = 64 << 20;
/** Packages that are published in a few files. */
const BUNDLED: readonly string[] = ["cli", "dm-native", "thinpool"];
/** Not every machine has it. */
const MAN = "/usr/bin/man";

/** What a consumer writes first: a type or value of each package that must be there under this name. */
const CONSUMER = `
import type { DeviceMapper, LoopDevices, BlockDevices, Mounts, Sectors } from "@thinpool/dm-native";
import { NativeError, dmName } from "@thinpool/dm-native";
import type { Kernel, ThinPool, CreatePoolOptions, Device, PoolStatus } from "@thinpool/thinpool";
import { PoolError, createPool, openPool, linuxKernel } from "@thinpool/thinpool";
import type { MethodName, MethodParams, MethodResult } from "@thinpool/protocol";
import { methods } from "@thinpool/protocol";
import { startDaemon } from "@thinpool/mount-helper";
import { connect } from "@thinpool/sdk";
import { exitCodes } from "@thinpool/cli";

export type All = [DeviceMapper, LoopDevices, BlockDevices, Mounts, Sectors, Kernel, ThinPool];
export type Records = [CreatePoolOptions, Device, PoolStatus, MethodName];
export type Wire = [MethodParams<"device.clone">, MethodResult<"device.get">];
export const values = [NativeError, dmName, PoolError, createPool, openPool, linuxKernel, methods];
export const verbs = [startDaemon, exitCodes];
export async function names(): Promise<string[]> {
  const client = await connect({ socketPath: "/run/thinpool/thinpool.sock" });
  const devices = await client.list();
  return devices.map((device: { name: string }) => device.name);
}
`;

/** What the READMEs' examples print, of those that run anywhere. */
const PRINTED: Readonly<Record<string, string>> = {
  "readme-protocol-0.ts": "device.clone { origin: 'base', name: 'one' }\n",
  "readme-dm-sim-0.ts": "kept\n",
};

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly files?: unknown;
  readonly engines?: { readonly node?: string };
  readonly license?: string;
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
}

interface PackedPackage {
  readonly folder: string;
  readonly manifest: Manifest;
  /** Absolute path of the tarball. */
  readonly tarball: string;
  readonly files: readonly string[];
}

/** One cell of the table: what was wrong, empty when it is well. */
type Problems = readonly string[];

const run = promisify(execFile);

/** Runs a program to its end; stdout, or its output as the error's message. */
async function output(file: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    const options = { cwd, timeout: STEP_TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES };
    return (await run(file, args, options)).stdout;
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { stdout?: string; stderr?: string };
    const said = stripVTControlCharacters(`${stdout}${stderr}`).trim();
    throw new Error(`${file} ${args.join(" ")}: ${said === "" ? String(error) : said}`, {
      cause: error,
    });
  }
}

/** What a step throws becomes its problem. */
async function problemsOf(step: () => Promise<Problems> | Problems): Promise<Problems> {
  try {
    return await step();
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

async function pack(folder: string, into: string): Promise<PackedPackage> {
  const cwd = join(packagesFolder, folder);
  const said = await output("pnpm", ["pack", "--json", "--pack-destination", into], cwd);
  // A warning may stand before the result.
  const { filename, files } = JSON.parse(said.slice(said.indexOf("{"))) as {
    filename: string;
    files: readonly { readonly path: string }[];
  };
  const manifest = JSON.parse(
    await output("tar", ["-xOf", filename, "package/package.json"], into),
  ) as Manifest;
  return { folder, manifest, tarball: filename, files: files.map(({ path }) => path) };
}

/** README, exports, types, files, engines, licence; nothing in the tarball that is ours alone. */
function checkContents({ folder, manifest, files }: PackedPackage): Problems {
  const problems: string[] = [];
  const must = (holds: boolean, problem: string): void => {
    if (!holds) problems.push(problem);
  };
  const main = manifest.exports?.["."] as Readonly<Record<string, string>> | undefined;
  must(manifest.name === `@thinpool/${folder}`, `the name is ${manifest.name}`);
  must(files.includes("README.md"), "no README.md");
  must(Array.isArray(manifest.files), "no list of files");
  must(manifest.engines?.node === ">=24", "engines.node is not >=24");
  must(manifest.license === "Apache-2.0", "the license is not Apache-2.0");
  must(main !== undefined, "exports has no '.'");
  must(!JSON.stringify(manifest.exports).includes('"source"'), "exports has the source condition");
  for (const condition of ["types", "default"]) {
    const path = main?.[condition]?.replace("./", "") ?? "";
    must(
      files.includes(path),
      `exports: ${condition} names no file of the tarball; turbo run build?`,
    );
  }
  for (const file of files) {
    must(!file.includes(".test."), `a test: ${file}`);
    must(!file.endsWith(".tsbuildinfo"), `the compiler's own state: ${file}`);
    must(/^(bundle|dist|src|man)\/|^[^/]+$/.test(file), `unexpected: ${file}`);
    if (file.startsWith("dist/") && file.endsWith(".js")) {
      const source = file.replace("dist/", "src/").replace(/\.js$/, ".ts");
      must(files.includes(source), `${file} has no source any more: remove dist, then tsc -b`);
    }
  }
  return problems;
}

async function checkPublint({ tarball }: PackedPackage): Promise<Problems> {
  const bytes = readFileSync(tarball);
  const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball: data }, strict: true });
  return messages
    .filter(({ type }) => type !== "suggestion")
    .map((message) => formatMessage(message, pkg, { color: false }) ?? message.code);
}

async function checkTypes({ tarball }: PackedPackage): Promise<Problems> {
  const attw = join(root, "node_modules", ".bin", "attw");
  await output(attw, ["--profile", "esm-only", "--no-emoji", "--no-color", tarball], root);
  return [];
}

/** An empty folder with all tarballs installed by npm, and the types of Node beside them. */
async function install(folder: string, packed: readonly PackedPackage[]): Promise<Problems> {
  mkdirSync(folder);
  const nodeTypes = createRequire(join(root, "package.json"))(
    "@types/node/package.json",
  ) as Manifest;
  const manifest = {
    name: "consumer",
    private: true,
    type: "module",
    dependencies: Object.fromEntries(
      packed.map(({ manifest: { name }, tarball }) => [name, `file:${tarball}`]),
    ),
    devDependencies: { "@types/node": nodeTypes.version },
  };
  writeFileSync(join(folder, "package.json"), JSON.stringify(manifest, undefined, 2));
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
  await output("npm", ["install", ...quiet], folder);
  return [];
}

async function importAll(folder: string, packed: readonly PackedPackage[]): Promise<Problems> {
  const names = packed.map(({ manifest: { name } }) => name);
  writeFileSync(
    join(folder, "import.js"),
    `for (const name of ${JSON.stringify(names)}) {
  const exported = Object.keys(await import(name));
  if (exported.length === 0) throw new Error(name + " exports nothing");
}\n`,
  );
  await output(process.execPath, ["import.js"], folder);
  return [];
}

/** Each block of TypeScript in the READMEs as a file of its own, as printed. Returns their names. */
function readmeBlocks(folder: string, packed: readonly PackedPackage[]): readonly string[] {
  return packed.flatMap(({ folder: name }) => {
    const text = readFileSync(join(packagesFolder, name, "README.md"), "utf8");
    return Array.from(text.matchAll(/```ts\n([\s\S]*?)```/g), ([, block = ""], at) => {
      const file = `readme-${name}-${at}.ts`;
      writeFileSync(join(folder, file), block);
      return file;
    });
  });
}

/** Strict, and with the declarations of all dependencies checked too. */
async function typeCheck(folder: string, packed: readonly PackedPackage[]): Promise<Problems> {
  writeFileSync(join(folder, "consumer.ts"), CONSUMER);
  const blocks = readmeBlocks(folder, packed);
  const without = packed.filter(({ folder: name }) => !blocks.includes(`readme-${name}-0.ts`));
  if (without.length > 0)
    return without.map(({ folder: name }) => `no example in ${name}/README.md`);
  const compilerOptions = {
    target: "es2024",
    lib: ["es2024", "esnext.disposable"],
    module: "nodenext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
  };
  const config = { compilerOptions, files: ["consumer.ts", ...blocks] };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
  await output(join(root, "node_modules", ".bin", "tsc"), ["-p", "tsconfig.json"], folder);
  // Those that need no daemon and no root are run, too.
  for (const [file, prints] of Object.entries(PRINTED)) {
    const said = await output(process.execPath, [file], folder);
    if (said !== prints) return [`${file} printed ${JSON.stringify(said)}`];
  }
  return [];
}

/** As an administrator has them: `npm install --global`, here below a folder. */
async function installGlobally(
  prefix: string,
  packed: readonly PackedPackage[],
): Promise<Problems> {
  const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
  const tarballs = packed.map(({ tarball }) => tarball);
  mkdirSync(prefix);
  await output("npm", ["install", "--global", "--prefix", prefix, ...quiet, ...tarballs], prefix);
  return [];
}

/** Each program starts and tells its usage; that of the CLI its version too, and its man page opens. */
async function runBins(prefix: string, packed: readonly PackedPackage[]): Promise<Problems> {
  const problems: string[] = [];
  for (const { folder: name, manifest } of packed) {
    for (const bin of Object.keys(manifest.bin ?? {})) {
      const program = join(prefix, "bin", bin);
      await output(program, ["--help"], prefix);
      if (name !== "cli") continue;
      const said = await output(program, ["--version"], prefix);
      if (!said.includes(manifest.version)) problems.push(`${bin} --version says ${said}`);
      const page = join(prefix, "share", "man", "man1", `${bin}.1`);
      if (!existsSync(page)) problems.push(`npm installed no man page of ${bin}`);
      else if (existsSync(MAN)) await output(MAN, ["--local-file", page], prefix);
    }
  }
  return problems;
}

/**
 * In a bundle only what must stay outside is imported: loading hundreds of files is what makes a start slow
 * and a process large. How much so, the benchmark tells; here the machine does other things too.
 */
function checkBundle(folder: string, { folder: name, manifest, files }: PackedPackage): Problems {
  const bundle = files.filter((file) => /^bundle\/.*\.js$/.test(file));
  if (bundle.length === 0) return ["the tarball has no bundle"];
  const outside = new Set(Object.keys(manifest.dependencies ?? {}));
  return bundle.flatMap((file) => {
    const text = readFileSync(join(folder, "node_modules", "@thinpool", name, file), "utf8");
    return [...text.matchAll(/^(?:import|export) (?:[^;]*? from )?"([^"]+)";$/gm)]
      .map(([, specifier = ""]) => specifier)
      .filter((one) => !one.startsWith(".") && !isBuiltin(one) && !outside.has(one))
      .map((specifier) => `${file} imports ${specifier}, which is no dependency`);
  });
}

/**
 * The thread and the process that dm-native starts by their files. Unprivileged both fail, with what the kernel
 * says to them.
 */
async function startBeside(folder: string): Promise<Problems> {
  writeFileSync(
    join(folder, "beside.js"),
    `import { open } from "node:fs/promises";
import { LinuxMounts, NativeError } from "@thinpool/dm-native";
const mounts = new LinuxMounts();
await using namespace = await open("/proc/self/ns/mnt");
const asked = [
  ["umount2", () => mounts.unmount(import.meta.dirname)],
  ["setns", () => mounts.list({ namespaceDescriptor: namespace.fd })],
];
for (const [operation, ask] of asked) {
  try {
    await ask();
  } catch (error) {
    if (!(error instanceof NativeError) || error.operation !== operation) throw error;
  }
}
await mounts.close();\n`,
  );
  await output(process.execPath, ["beside.js"], folder);
  return [];
}

interface Row {
  readonly what: string;
  readonly check: string;
  readonly problems: Problems;
  readonly milliseconds: number;
}

async function timed(what: string, check: string, step: () => Promise<Problems> | Problems) {
  const start = performance.now();
  const problems = await problemsOf(step);
  return { what, check, problems, milliseconds: performance.now() - start } satisfies Row;
}

function print(rows: readonly Row[]): void {
  for (const { what, check, problems, milliseconds } of rows) {
    const verdict = problems.length === 0 ? "ok" : "FAILED";
    const time = `${(milliseconds / 1000).toFixed(1)} s`;
    console.log(`${what.padEnd(14)} ${check.padEnd(12)} ${verdict.padEnd(7)} ${time.padStart(7)}`);
  }
  for (const { what, check, problems } of rows) {
    for (const problem of problems) console.log(`\n${what}, ${check}: ${problem}`);
  }
}

async function checkPackages(keep: boolean): Promise<boolean> {
  const scratch = mkdtempSync(join(tmpdir(), "check-packages-"));
  const tarballs = join(scratch, "tarballs");
  const consumer = join(scratch, "consumer");
  mkdirSync(tarballs);
  try {
    const packed: PackedPackage[] = [];
    const rows: Row[] = [];
    for (const folder of readdirSync(packagesFolder).toSorted()) {
      const row = await timed(folder, "pack", async () => {
        packed.push(await pack(folder, tarballs));
        return [];
      });
      rows.push(row);
    }
    for (const one of packed) {
      rows.push(
        await timed(one.folder, "contents", () => checkContents(one)),
        await timed(one.folder, "publint", () => checkPublint(one)),
        await timed(one.folder, "attw", () => checkTypes(one)),
      );
    }
    const installed = await timed("all", "npm install", () => install(consumer, packed));
    rows.push(installed);
    if (installed.problems.length === 0) {
      rows.push(
        await timed("all", "import", () => importAll(consumer, packed)),
        await timed("all", "type-check", () => typeCheck(consumer, packed)),
        await timed("dm-native", "beside", () => startBeside(consumer)),
      );
      for (const one of packed.filter(({ folder }) => BUNDLED.includes(folder))) {
        rows.push(await timed(one.folder, "bundle", () => checkBundle(consumer, one)));
      }
    }
    const global = join(scratch, "global");
    const system = await timed("all", "npm -g", () => installGlobally(global, packed));
    rows.push(system);
    if (system.problems.length === 0) {
      rows.push(await timed("all", "bins", () => runBins(global, packed)));
    }
    print(rows);
    return rows.every(({ problems }) => problems.length === 0);
  } finally {
    if (keep) console.log(`\nkept: ${dirname(tarballs)}`);
    else rmSync(scratch, { recursive: true, force: true });
  }
}

const { values } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
if (!(await checkPackages(values.keep))) process.exitCode = 1;

/**
 * Makes bundle/ of what `tsc -b` built: the program in a few files. Loading the hundreds that it is written
 * in takes longer than starting Node itself. What needs native code, or starts programs of its own by their
 * path, stays outside; what is inside keeps its licence, in LICENSES.txt.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { build } from "esbuild";

const PACKAGE = dirname(import.meta.dirname);
const BUNDLE = join(PACKAGE, "bundle");
const REQUIRE = `import { createRequire } from "node:module"; const require = createRequire(import.meta.url);`;
/** What every command loads. */
const ALWAYS = ["bundle/bin.js", "bundle/commands/index.js"];
const NOTHING = "data:text/javascript,";

rmSync(BUNDLE, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: PACKAGE,
  entryPoints: ["dist/bin.js", "dist/commands/index.js", "dist/index.js"],
  outdir: "bundle",
  bundle: true,
  splitting: true,
  platform: "node",
  format: "esm",
  // oclif is CommonJS; in a module of its own it finds no `require`.
  banner: { js: REQUIRE },
  external: ["@thinpool/dm-native", "@thinpool/mount-helper", "@thinpool/thinpool"],
  // ws loads them, a fifth of the time of a short command, for what a Unix socket does not have.
  alias: { https: NOTHING, tls: NOTHING },
  metafile: true,
  logLevel: "warning",
});

// Loading the packages that stay outside takes longer than all the rest: only what needs them does.
const reached = new Set(ALWAYS);
for (const file of reached) {
  for (const { path, kind, external } of metafile.outputs[file]?.imports ?? []) {
    if (kind !== "import-statement") continue;
    if (path.startsWith("@"))
      throw new Error(`every command would load ${path}: ${file} imports it`);
    if (external !== true) reached.add(path);
  }
}

const folders = new Set<string>();
for (const { inputs } of Object.values(metafile.outputs)) {
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    const [folder] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [];
    if (folder !== undefined && bytesInOutput > 0) folders.add(resolve(PACKAGE, folder));
  }
}
const licences = [...folders].toSorted().map((folder) => {
  const { name, version, license } = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  ) as Readonly<Record<"name" | "version" | "license", string>>;
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice)/i.test(file));
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8").trim());
  return [`${name} ${version} (${license})`, ...texts].join("\n\n");
});
writeFileSync(join(BUNDLE, "LICENSES.txt"), `${licences.join(`\n\n${"-".repeat(72)}\n\n`)}\n`);

/**
 * The layering of the packages, as a rule that fails the build.
 *
 *     node tools/check-layering.ts [--root DIR]
 *
 * Prints one line per violation, `file:line: rule: what is wrong`, and exits 1 if there is any.
 * Three things must agree: what the sources import, what package.json declares, and what
 * tsconfig.json refers to. Names are read with a parser, never with a pattern over the text.
 */
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { parseArgs } from "node:util";
import { findNodeAtLocation, parseTree } from "jsonc-parser";
import type { Node as JsonNode } from "jsonc-parser";
import { parseSync, Visitor } from "oxc-parser";
import type { Expression } from "oxc-parser";

const SCOPE = "@thinpool/";

/** What a package may import of ours, and what its tests (`*.test.ts`, `*.test.support.ts`) may import on top of that. */
interface Allowed {
  readonly imports: readonly string[];
  readonly tests: readonly string[];
  /**
   * A folder below src/ that is an entry of its own, for users' tests: what it may import on top, as
   * optional peer dependencies. Nothing outside it may import it.
   */
  readonly testing?: { readonly folder: string; readonly imports: readonly string[] };
  /**
   * What is published is a bundle, so what it imports may be in devDependencies; that the bundle has it
   * is seen in the tarball (check-packages).
   */
  readonly bundled?: true;
}

/** The arrows between the packages; a package that is missing here is a violation itself. */
export const LAYERS: Readonly<Record<string, Allowed>> = {
  "dm-native": { imports: [], tests: [] },
  protocol: { imports: [], tests: [] },
  "dm-sim": { imports: ["dm-native"], tests: [] },
  thinpool: { imports: ["dm-native"], tests: ["dm-sim"] },
  "mount-helper": { imports: ["thinpool", "protocol"], tests: ["dm-sim"] },
  sdk: {
    imports: ["protocol"],
    tests: ["dm-sim"],
    testing: { folder: "src/testing", imports: ["dm-sim", "thinpool", "mount-helper"] },
  },
  cli: {
    imports: ["dm-native", "thinpool", "mount-helper", "protocol", "sdk"],
    tests: ["dm-sim"],
    bundled: true,
  },
};

export type Rule =
  | "unknown-package"
  | "not-allowed"
  | "not-declared"
  | "declared-not-allowed"
  | "relative-escape"
  | "deep-import"
  | "computed-import"
  | "reference-mismatch"
  | "testing-imported"
  | "peer-not-optional"
  | "unreadable";

export interface Violation {
  /** Relative to the root. */
  readonly file: string;
  readonly line: number;
  readonly rule: Rule;
  readonly message: string;
}

/**
 * Reads all packages below `root`/packages; throws only where the folder itself is missing. Who asks again
 * and again, of files that hardly change, keeps `known` between: parsing takes nearly all the time.
 */
export function checkLayering(root: string, known: KnownSources = new Map()): readonly Violation[] {
  const violations: Violation[] = [];
  for (const entry of readdirSync(join(root, "packages"), { withFileTypes: true })) {
    const folder = join(root, "packages", entry.name);
    if (!entry.isDirectory() || !existsSync(join(folder, "package.json"))) continue;
    violations.push(...checkPackage({ root, folder, name: entry.name }, known));
  }
  return violations;
}

/** What was found in a text, by the text itself: a changed file is another text. */
export type KnownSources = Map<string, readonly Found[]>;

interface PackageFolder {
  readonly root: string;
  /** Absolute. */
  readonly folder: string;
  /** Of the folder, and behind the scope of the package too. */
  readonly name: string;
}

/** A place in a file, and how to tell of what is wrong there. */
type Report = (offset: number, rule: Rule, message: string) => void;

function checkPackage(where: PackageFolder, known: KnownSources): readonly Violation[] {
  const violations: Violation[] = [];
  const reporter =
    (file: string, text: string): Report =>
    (offset, rule, message) => {
      const line = text.slice(0, offset).split("\n").length;
      violations.push({ file: relative(where.root, file), line, rule, message });
    };
  const manifestFile = join(where.folder, "package.json");
  const manifestText = readFileSync(manifestFile, "utf8");
  const allowed = LAYERS[where.name];
  if (allowed === undefined) {
    const report = reporter(manifestFile, manifestText);
    report(0, "unknown-package", `say in tools/check-layering.ts what ${where.name} may import`);
    return violations;
  }
  const declared = checkManifest(
    manifestText,
    where,
    allowed,
    reporter(manifestFile, manifestText),
  );
  if (declared === undefined) return violations;

  const tsconfigFile = join(where.folder, "tsconfig.json");
  const tsconfigText = readFileSync(tsconfigFile, "utf8");
  checkReferences(tsconfigText, where, declared, reporter(tsconfigFile, tsconfigText));

  for (const path of globSync("src/**/*.ts", { cwd: where.folder }).toSorted()) {
    const file = join(where.folder, path);
    const text = readFileSync(file, "utf8");
    let found = known.get(text);
    if (found === undefined) {
      found = findSpecifiers(file, text);
      known.set(text, found);
    }
    checkSource(found, { file, where, allowed, declared, report: reporter(file, text) });
  }
  return violations;
}

/** Names in package.json: those a consumer gets too, and those only our own tests and build get. */
interface Declared {
  readonly runtime: ReadonlySet<string>;
  /** For the testing entry alone: a consumer may leave them out. */
  readonly optionalPeers: ReadonlySet<string>;
  readonly development: ReadonlySet<string>;
}

function checkManifest(
  text: string,
  where: PackageFolder,
  allowed: Allowed,
  report: Report,
): Declared | undefined {
  const tree = parseTree(text);
  if (tree === undefined || findNodeAtLocation(tree, ["name"])?.value !== SCOPE + where.name) {
    report(0, "unreadable", `the manifest must be JSON and name the package ${SCOPE}${where.name}`);
    return undefined;
  }
  const read = (section: string, ours: readonly string[]): Set<string> => {
    const names = new Set<string>();
    for (const property of findNodeAtLocation(tree, [section])?.children ?? []) {
      const name = String(property.children?.[0]?.value);
      names.add(name);
      if (name.startsWith(SCOPE) && !ours.includes(name.slice(SCOPE.length))) {
        report(
          property.offset,
          "declared-not-allowed",
          `${where.name} may not have ${name} in ${section}${tell(ours)}`,
        );
      }
    }
    return names;
  };
  const testing = allowed.testing?.imports ?? [];
  const runtime = ["dependencies", "optionalDependencies"].map((section) =>
    read(section, allowed.imports),
  );
  const optionalPeers = new Set<string>();
  for (const name of read("peerDependencies", [...allowed.imports, ...testing])) {
    if (findNodeAtLocation(tree, ["peerDependenciesMeta", name, "optional"])?.value === true) {
      optionalPeers.add(name);
    } else if (testing.includes(name.slice(SCOPE.length))) {
      report(0, "peer-not-optional", `${name} is for the testing entry alone: make it optional`);
    } else {
      runtime.push(new Set([name]));
    }
  }
  return {
    runtime: new Set(runtime.flatMap((names) => [...names])),
    optionalPeers,
    development: read("devDependencies", [...allowed.imports, ...allowed.tests, ...testing]),
  };
}

/** The references must be exactly the declared packages of ours, or `tsc -b` builds in a wrong order. */
function checkReferences(
  text: string,
  where: PackageFolder,
  declared: Declared,
  report: Report,
): void {
  const tree = parseTree(text);
  const list = tree === undefined ? undefined : findNodeAtLocation(tree, ["references"]);
  if (list?.children === undefined) {
    report(0, "unreadable", "tsconfig.json must have a list of references");
    return;
  }
  const missing = new Set(
    [...declared.runtime, ...declared.development]
      .filter((name) => name.startsWith(SCOPE))
      .map((name) => name.slice(SCOPE.length)),
  );
  for (const reference of list.children) {
    const path = pathOf(reference);
    const name = relative(join(where.root, "packages"), resolve(where.folder, path));
    if (!missing.delete(name)) {
      report(
        reference.offset,
        "reference-mismatch",
        `tsconfig.json refers to ${path}, which package.json does not declare`,
      );
    }
  }
  for (const name of missing) {
    report(
      list.offset,
      "reference-mismatch",
      `package.json declares ${SCOPE}${name}, to which tsconfig.json does not refer`,
    );
  }
}

function pathOf(reference: JsonNode): string {
  return String(findNodeAtLocation(reference, ["path"])?.value);
}

/** What a source says at a place, whatever package it is in. */
interface Found {
  readonly offset: number;
  readonly what: "import" | "url" | "computed-import" | "unreadable";
  /** The specifier, or what is wrong. */
  readonly text: string;
}

function findSpecifiers(file: string, text: string): readonly Found[] {
  const { program, errors } = parseSync(file, text);
  const found: Found[] = errors.map(({ labels, message }) => ({
    offset: labels[0]?.start ?? 0,
    what: "unreadable",
    text: message,
  }));
  const literal = (node: Expression): void => {
    const offset = node.start;
    if (node.type === "Literal" && typeof node.value === "string") {
      found.push({ offset, what: "import", text: node.value });
    } else {
      const wrong = "an import must name its module in a plain string";
      found.push({ offset, what: "computed-import", text: wrong });
    }
  };
  new Visitor({
    ImportDeclaration: (node) => literal(node.source),
    ExportAllDeclaration: (node) => literal(node.source),
    ExportNamedDeclaration: (node) => {
      if (node.source !== null) literal(node.source);
    },
    ImportExpression: (node) => literal(node.source),
    TSImportType: (node) => literal(node.source),
    TSExternalModuleReference: (node) => literal(node.expression),
    // `require("x")`, `import.meta.resolve("x")`: the other two ways to get at a module.
    CallExpression: (node) => {
      const { callee } = node;
      const asks =
        (callee.type === "Identifier" && callee.name === "require") ||
        (callee.type === "MemberExpression" &&
          callee.object.type === "MetaProperty" &&
          callee.property.type === "Identifier" &&
          callee.property.name === "resolve");
      const [argument] = node.arguments;
      if (asks && argument !== undefined && argument.type !== "SpreadElement") literal(argument);
    },
    // `new URL("./worker.ts", import.meta.url)`: how a worker thread is named.
    NewExpression: (node) => {
      const [path, base] = node.arguments;
      if (
        node.callee.type === "Identifier" &&
        node.callee.name === "URL" &&
        path?.type === "Literal" &&
        typeof path.value === "string" &&
        base?.type === "MemberExpression" &&
        base.object.type === "MetaProperty"
      ) {
        found.push({ offset: path.start, what: "url", text: path.value });
      }
    },
  }).visit(program);
  return found;
}

interface Source {
  readonly file: string;
  readonly where: PackageFolder;
  readonly allowed: Allowed;
  readonly declared: Declared;
  readonly report: Report;
}

function checkSource(found: readonly Found[], source: Source): void {
  for (const { offset, what, text } of found) {
    if (what === "import") checkSpecifier(text, offset, source);
    else if (what === "url") checkRelative(text, offset, source);
    else source.report(offset, what, text);
  }
}

/** The testing entry's folder; undefined where the package has none. */
function testingFolder({ where, allowed }: Source): string | undefined {
  return allowed.testing === undefined
    ? undefined
    : join(where.folder, allowed.testing.folder) + sep;
}

function checkRelative(specifier: string, offset: number, source: Source): void {
  const { file, where, report } = source;
  const target = resolve(dirname(file), specifier);
  const testing = testingFolder(source);
  if (testing !== undefined && target.startsWith(testing) && !file.startsWith(testing)) {
    report(
      offset,
      "testing-imported",
      `${specifier} is for users' tests; nothing else may need it`,
    );
  }
  if (!target.startsWith(where.folder + sep)) {
    report(offset, "relative-escape", `${specifier} leaves the package; import it by its name`);
  }
}

function checkSpecifier(specifier: string, offset: number, source: Source): void {
  const { file, where, allowed, declared, report } = source;
  if (specifier.startsWith(".") || specifier.startsWith("/")) {
    checkRelative(specifier, offset, source);
    return;
  }
  if (specifier.startsWith("node:") && isBuiltin(specifier)) return;

  const inTest = /\.test(\.support)?\.ts$/.test(file);
  const testing = testingFolder(source);
  const inTesting = testing !== undefined && file.startsWith(testing);
  const segments = specifier.split("/");
  const name = segments.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
  if (name.startsWith(SCOPE)) {
    if (name !== specifier) {
      report(offset, "deep-import", `${specifier} reaches into ${name}; import ${name} itself`);
    }
    const ours = [
      ...allowed.imports,
      ...(inTest ? allowed.tests : []),
      ...(inTesting ? (allowed.testing?.imports ?? []) : []),
    ];
    if (!ours.includes(name.slice(SCOPE.length))) {
      const who = inTest ? `a test of ${where.name}` : where.name;
      report(offset, "not-allowed", `${who} may not import ${name}${tell(ours)}`);
      return;
    }
  }
  const mayBeDevelopment = inTest || allowed.bundled === true;
  if (declared.runtime.has(name) || (mayBeDevelopment && declared.development.has(name))) return;
  if (inTesting && declared.optionalPeers.has(name)) return;
  report(
    offset,
    "not-declared",
    declared.development.has(name)
      ? `${name} is only in devDependencies, which a consumer does not get`
      : `${name} is not declared in package.json`,
  );
}

function tell(ours: readonly string[]): string {
  return ours.length === 0 ? "; it may have nothing of ours" : `; it may have ${ours.join(", ")}`;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { root: { type: "string" } } });
  const violations = checkLayering(resolve(values.root ?? join(import.meta.dirname, "..")));
  for (const { file, line, rule, message } of violations) {
    console.log(`${file}:${line}: ${rule}: ${message}`);
  }
  if (violations.length > 0) process.exitCode = 1;
}

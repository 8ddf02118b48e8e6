/**
 * Every command of `thinpool` on a real kernel: as text and as JSON, where it works and where it is
 * refused as its help, the SDK and the policy say, as root and as users without privileges. Rows run in
 * their order, each twice: once as text, once as JSON. The first success of each command is a process of
 * its own; else each user has one process that runs all of his. What the commands do to the devices is
 * looked at in cli-commands.test.ts.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  chmod,
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  statfs,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "@thinpool/sdk";
import { makeCertificate } from "../e2e/certificate.ts";
import { PLAIN_FAILURE, thinpool } from "../e2e/cli-process.ts";
import { type Resident, startResident } from "./cli-resident.ts";
import { cliWorld, type Ids, run, STRANGER, USER } from "./cli-world.ts";
import { kernelState } from "./kernel-state.ts";

const untouched = kernelState();
const w = await cliWorld();
const { scratch, env, runtime } = w;
const ROOT = undefined;
/** Whom the policy lets have little. */
const LIMITED = STRANGER;
/** An administrator without privileges. */
const ADMIN: Ids = { uid: 1002, gid: USER.gid };
/** Not of the socket's group. */
const OUTSIDER: Ids = { uid: 1003, gid: 1003 };
const DOWN = 7;
const PORT = 7475;
/** Of the daemon's wrong tokens a second of one address, which each row has two of; see below. */
const TOKEN_REST_MS = 1_000;
const MIB = 1 << 20;
const NO_UUID = "00000000-0000-4000-8000-000000000000";

/** In the lines: places, and ids that are known only once they have been told. */
const words: Record<string, string> = {
  tree: join(scratch, "tree"),
  tar: join(scratch, "tree.tar"),
  text: join(scratch, "text"),
  out: join(scratch, "out"),
  image: join(scratch, "machine"),
  policy: join(scratch, "policy.json"),
  adopted: join(scratch, "adopted"),
  adopted2: join(scratch, "adopted-2"),
  pool2: join(scratch, "pool-2"),
  pool3: join(scratch, "pool-3"),
  pool4: join(scratch, "pool-4"),
  small: join(scratch, "small"),
  big: join(scratch, "big.tar"),
  url: `wss://127.0.0.1:${PORT}`,
  urlByName: `wss://localhost:${PORT}`,
  urlOfNobody: "wss://127.0.0.1:1",
  none: "",
  wrong: "w".repeat(43),
  data: join(w.folder, "data"),
  metadata: join(w.folder, "metadata"),
};

/** What was run: a command's words by whether it was let. */
const covered = { done: new Set<string>(), refused: new Set<string>(), json: new Set<string>() };

interface Commands {
  readonly all: readonly string[];
  readonly withJson: ReadonlySet<string>;
  /** They ask the daemon. */
  readonly asking: readonly string[];
}

/** As the reference has them, which a test keeps current. */
async function commandsOfReference(): Promise<Commands> {
  const path = join(import.meta.dirname, "../../packages/cli/COMMANDS.md");
  const sections = (await readFile(path, "utf8")).split("\n## thinpool ").slice(1);
  const having = (flag: string): string[] =>
    sections
      .filter((text) => text.includes(`- \`--${flag}`))
      .map((text) => text.slice(0, text.indexOf("\n")));
  return { all: having(""), withJson: new Set(having("json`")), asking: having("url URL") };
}
const commands = await commandsOfReference();

/** Who comes over TCP is the one whose token it is. */
let token = "";
const environment = () => ({ ...env, THINPOOL_CONNECT_TOKEN: token });

const commandOf = (line: string): string => {
  const found = commands.all.find((name) => line === name || line.startsWith(`${name} `));
  return found ?? assert.fail(`no command in ${line}`);
};

function argsOf(line: string): string[] {
  return line
    .replaceAll(/\{(\w+)\}/g, (_, name: string) => words[name] ?? assert.fail(name))
    .split(" ");
}

type User = Ids | undefined;

/** Of each user the process that runs his commands. */
const residents = new Map<User, Resident>();
/** Commands that ran as processes. */
const started = new Set<string>();

function runAs(user: User, line: string, more: readonly string[] = []) {
  const args = [...argsOf(line), ...more];
  // It changes its process, which it thinks its own.
  if (commandOf(line) === "serve") return asProcess(user, args);
  const found = residents.get(user);
  const resident = found === undefined || found.isOver() ? startResident(runtime, user) : found;
  residents.set(user, resident);
  return resident.run(args, environment());
}

const asProcess = (user: User, args: readonly string[]) =>
  thinpool(args, { env: environment(), runtime, ...(user === undefined ? {} : { user }) });

const title = (user: User, line: string): string => `${user?.uid ?? "root"}: ${line}`;

interface Success {
  /** One that the JSON has; "" where it is a list. */
  readonly field?: string;
  /** The line for the JSON, where the same can't be done twice. */
  readonly again?: string;
  /** Of a command that found something. */
  readonly exitCode?: number;
}

/** It works, and its text is like that. */
function works(user: User, line: string, text: RegExp, success: Success = {}): void {
  const { field = "", again = line, exitCode = 0 } = success;
  test(title(user, line), async () => {
    const name = commandOf(line);
    const first = !started.has(name) && exitCode === 0;
    if (first) started.add(name);
    const plain = first ? await asProcess(user, argsOf(line)) : await runAs(user, line);
    assert.equal(plain.exitCode, exitCode, plain.stderr);
    assert.match(plain.stdout, text);
    covered.done.add(name);
    if (!commands.withJson.has(name)) return;
    const json = await runAs(user, again, ["--json"]);
    assert.deepEqual([json.exitCode, json.stderr], [exitCode, ""], json.stdout);
    const value = JSON.parse(json.stdout) as unknown;
    if (field === "") assert.ok(Array.isArray(value), json.stdout);
    else assert.ok(Object.hasOwn(value as object, field), json.stdout);
    covered.json.add(name);
  });
}

/** It is refused: one line and a hint on stderr, or the error alone as JSON. */
function refuses(user: User, exitCode: number, code: string, line: string): void {
  test(`${title(user, line)}: ${code}`, async () => {
    const name = commandOf(line);
    const plain = await runAs(user, line);
    assert.match(plain.stderr, PLAIN_FAILURE);
    assert.doesNotMatch(plain.stderr, /was not foreseen/);
    assert.deepEqual([plain.exitCode, plain.stdout], [exitCode, ""], plain.stderr);
    covered.refused.add(`${name} ${code}`);
    if (!commands.withJson.has(name)) return;
    const json = await runAs(user, line, ["--json"]);
    assert.equal(json.stderr, "");
    const { error } = JSON.parse(json.stdout) as { error: Record<string, unknown> };
    assert.deepEqual([error["code"], error["exitCode"], json.exitCode], [code, exitCode, exitCode]);
  });
}

/** Once, for the rows after it, which call the field of its answer `{name}`. */
function told(name: string, user: User, line: string, field: string): void {
  test(`${title(user, line)} tells ${name}`, async () => {
    const { stdout, exitCode } = await runAs(user, line, ["--json"]);
    assert.equal(exitCode, 0, stdout);
    words[name] = String((JSON.parse(stdout) as Record<string, unknown>)[field]);
  });
}

/** These rows run while this process has `{name}` open. */
function held(name: string, rows: () => void): void {
  suite(`while {${name}} is open`, () => {
    let handle: FileHandle;
    before(async () => {
      handle = await open(words[name] ?? "");
    });
    after(() => handle.close());
    rows();
  });
}

/** These rows come with the token `{name}`, over TCP. Their address may not show too many wrong ones. */
function bearing(name: string, rows: () => void): void {
  suite(`with the token {${name}}`, () => {
    before(async () => {
      token = words[name] ?? assert.fail(name);
      await delay(TOKEN_REST_MS);
    });
    after(() => {
      token = "";
    });
    rows();
  });
}

/** These rows run while the filesystem of that folder has but so much free. */
function full(name: string, freeBytes: number, rows: () => void): void {
  const path = (): string => join(words[name] ?? "", "filling");
  suite(`with ${freeBytes} bytes free in {${name}}`, () => {
    before(async () => {
      const { bavail, bsize } = await statfs(words[name] ?? "");
      // The daemon may write meanwhile, and take some of it first.
      const filling = writeFile(path(), Buffer.alloc(bavail * bsize - freeBytes));
      await filling.catch((error: NodeJS.ErrnoException) => assert.equal(error.code, "ENOSPC"));
    });
    after(() => rm(path()));
    rows();
  });
}

/** These rows run on a machine that lacks the program. */
function without(program: string, rows: () => void): void {
  suite(`without ${program}`, () => {
    before(async () => {
      const nothing = join(scratch, "nothing");
      await writeFile(nothing, "", { mode: 0o644 });
      await run("mount", ["--bind", nothing, program]);
    });
    after(() => run("umount", [program]));
    rows();
  });
}

/** A call of each command that asks the daemon. */
const ASKING = [
  ...["whoami", "mounts", "image list", "lease list", "token list", "device list", "device tree"],
  ...["pool status", "pool set", "pool events", "pool check", "pool backup", "pool extend"],
  ...["activate", "deactivate", "label", "remove --yes", "show", "trim"].map(
    (verb) => `device ${verb} x`,
  ),
  ...["clone x y", "create x", "diff x y", "export x {out}/x", "rename x y", "resize x 1GiB"].map(
    (words_) => `device ${words_}`,
  ),
  ...["device revert x y --yes", "device snapshot x y", "image create x --from-folder {tree}"],
  ...["image import x {tar}", "image publish x", "image remove x --yes", "lease release x"],
  ...["lease renew x", "mount x", "umount x", "policy test 0 use", "token connect"],
  ...["token create x --allow clone", `token revoke ${NO_UUID}`],
];

suite("every command on a real kernel", () => {
  before(async () => {
    const clone = { public: true };
    const limits = { devices: 2, virtualBytes: String(160 << 20), mounts: 2, holdSeconds: 7200 };
    const rules = [
      { name: "testers", users: [USER.uid], allow: { clone } },
      { name: "limited", users: [LIMITED.uid], allow: { clone }, limits },
      { name: "keepers", users: [ADMIN.uid], allow: { admin: true } },
    ];
    await writeFile(words["policy"] ?? "", JSON.stringify({ version: 1, rules }), { mode: 0o644 });
    await mkdir(join(scratch, "tree/sub"), { recursive: true });
    await writeFile(join(scratch, "tree/sub/file"), "content\n");
    await writeFile(join(scratch, "text"), "no archive".repeat(1000));
    execFileSync("tar", ["-cf", join(scratch, "tree.tar"), "-C", join(scratch, "tree"), "."]);
    await run("chmod", ["-R", "a+rX", join(scratch, "tree"), join(scratch, "tree.tar")]);
    await mkdir(join(scratch, "out"));
    await chmod(join(scratch, "out"), 0o777);
  });

  after(async () => {
    for (const resident of residents.values()) await resident.stop();
    await w[Symbol.asyncDispose]();
    assert.deepEqual(kernelState(), untouched);
  });

  suite("of the machine", () => {
    works(USER, "explain no_space", /^code: +NO_SPACE$/m, { field: "hint" });
    refuses(USER, 2, "USAGE", "explain NOPE");
    works(USER, "completion script bash", /complete /);
    refuses(USER, 2, "USAGE", "completion script tcsh");
    works(ROOT, "service status", /^installed: +no$/m, { field: "installed" });
    works(USER, "service status", /^installed: +no$/m, { field: "installed" });
    refuses(USER, 4, "NOT_ROOT", "service install --root {image}");
    refuses(ROOT, 2, "OPTION_INVALID", "service install --root {image} --metrics nowhere");
    works(ROOT, "service install --root {image}", /thinpoold\.service$/m, { field: "written" });
    refuses(USER, 4, "NOT_ROOT", "service uninstall --yes --root {image}");
    works(ROOT, "service uninstall --yes --root {image}", /thinpoold\.socket$/m, {
      field: "removed",
    });
    for (const name of commands.all) refuses(USER, 2, "USAGE", `${name} --nope`);
    refuses(USER, 3, "NO_JOURNAL", "logs");
    refuses(USER, 2, "USAGE", "top");
    works(ROOT, "doctor", /^ok +kernel /m, { field: "canServe" });
    works(USER, "doctor", /^[a-z]+ +daemon /m, { field: "canUse", exitCode: 1 });
    works(USER, "policy show --policy {policy}", /^about: +users 1000$/m, { field: "rules" });
    refuses(USER, 2, "POLICY_INVALID", "policy show --policy {text}");
    refuses(USER, 2, "POLICY_INVALID", "policy show --policy {text}.none");
  });

  suite("of a pool that is down, and of none", () => {
    const sizes = "--data-size 512MiB --metadata-size 8MiB --low-water 16MiB";
    refuses(USER, 4, "POOL_PERMISSION", "pool create --folder {out}/pool");
    refuses(ROOT, 2, "USAGE", "pool create --block-size 96KiB");
    refuses(ROOT, 2, "POOL_OPTION_INVALID", "pool create --block-size 2GiB");
    refuses(ROOT, 2, "USAGE", "pool create --data-device /dev/null");
    refuses(ROOT, 2, "USAGE", "pool create --data-size 100");
    refuses(ROOT, 2, "POOL_TOO_SMALL", "pool create --data-size 64KiB --metadata-size 8MiB");
    works(ROOT, `pool create ${sizes}`, /^[0-9a-f-]{36}$/m, {
      field: "uuid",
      again: `pool create --folder {pool2} ${sizes}`,
    });
    refuses(ROOT, 1, "POOL_EXISTS", `pool create ${sizes}`);
    works(ROOT, "pool list", /^[0-9a-f-]{36} +down +no +512 MiB /m);
    works(ROOT, "pool destroy --dry-run", /^would destroy pool [0-9a-f-]{36} in /m, {
      field: "destroyed",
      again: "pool destroy --yes --folder {pool2}",
    });
    told(
      "other",
      ROOT,
      "pool create --folder {pool4} --data-size 64MiB --metadata-size 8MiB",
      "uuid",
    );
    const closed = ["recover", "repair", "destroy --yes"];
    const direct = ["check", "backup", "events", "extend --data-size 1GiB"].map(
      (verb) => `${verb} --direct`,
    );
    for (const verb of [...closed, ...direct]) {
      refuses(ROOT, 3, "POOL_NOT_FOUND", `pool ${verb} --folder {pool3}`);
    }
    refuses(ROOT, 3, "POOL_NOT_FOUND", "pool restore --folder {pool3}");
    refuses(ROOT, 3, "NO_BACKUP", "pool restore");
    for (const line of ASKING) refuses(ROOT, DOWN, "DAEMON_UNREACHABLE", line);
    for (const line of ["device tree", "pool set"]) {
      refuses(USER, 4, "NOT_ROOT", `${line} --direct`);
    }
    for (const verb of [...closed, ...direct]) {
      refuses(USER, 4, "POOL_PERMISSION", `pool ${verb}`);
    }
    refuses(ROOT, 3, "POOL_NOT_FOUND", "serve --folder {pool3}");
    refuses(ROOT, 2, "POLICY_INVALID", "serve --policy {text}");
    refuses(USER, 4, "POOL_PERMISSION", "serve");
    told("changed", ROOT, "pool set --direct --data-floor 8MiB", "outcome");
    works(ROOT, "pool events --direct --after 1", /policy-changed$/m);
    refuses(ROOT, 2, "USAGE", "pool events --direct --after 1000000");
  });

  suite("of the daemon", () => {
    before(() => w.serve(["--policy", words["policy"] ?? ""]));
    after(() => w.stop());

    refuses(ROOT, 5, "POOL_LOCKED", "serve --socket {out}/other.sock");
    refuses(ROOT, 5, "SOCKET_IN_USE", "serve --folder {pool4}");
    for (const line of ["whoami", "device list", "pool check"]) {
      refuses(OUTSIDER, 4, "SOCKET_FORBIDDEN", line);
    }
    works(ROOT, "whoami", /root/, { field: "uid" });
    works(USER, "whoami", /testers/, { field: "uid" });
    works(USER, "pool status", /^state: +working$/m, { field: "uuid" });
    works(USER, "pool events", /pool-opened$/m);
    refuses(USER, 2, "INVALID_PARAMS", "pool events --after 1000000");
    works(ROOT, "pool set --data-floor 4MiB", /^data floor: +4 MiB$/m, { field: "outcome" });
    refuses(USER, 4, "FORBIDDEN", "pool set");
    refuses(ROOT, 2, "INVALID_PARAMS", "pool set --overprovision 0.5");
    refuses(ROOT, 2, "USAGE", "pool set --overprovision maybe");
    works(ADMIN, "pool check", /^metadata clean, nothing is wrong$/m, { field: "findings" });
    works(ROOT, "pool check --mappings", /^metadata clean, /m, { field: "findingsLeftOut" });
    works(ADMIN, "pool backup", /^\d{8}T\d{9}Z-t\d+$/m, { field: "name" });
    works(ROOT, "pool backup --list", /^\d{8}T\d{9}Z-t\d+ /m);
    works(ROOT, "pool extend --data-size 640MiB", /^data 640 MiB, /m, { field: "outcome" });
    works(
      ADMIN,
      "pool extend --data-size 1GiB --dry-run",
      /^would extend the data from 640 MiB /m,
      {
        field: "would",
      },
    );
    refuses(ROOT, 2, "INVALID_PARAMS", "pool extend");
    refuses(ADMIN, 2, "INVALID_PARAMS", "pool extend --data-size 64MiB");
    for (const verb of ["check", "backup", "backup --list", "extend --data-size 1GiB"]) {
      refuses(USER, 4, "FORBIDDEN", `pool ${verb}`);
    }

    works(ROOT, "device create base --size 64MiB", /^base$/m, {
      field: "uuid",
      again: "device create private --size 64MiB",
    });
    refuses(ROOT, 1, "EXISTS", "device create base");
    refuses(ROOT, 2, "NAME_INVALID", "device create a/b");
    refuses(USER, 4, "FORBIDDEN", "device create mine");
    works(ROOT, "image publish base", /^base is public$/m, { field: "name" });
    refuses(USER, 4, "FORBIDDEN", "image publish base");
    refuses(ROOT, 3, "NOT_FOUND", "image publish missing");
    refuses(ROOT, 2, "USAGE", "device create x --size 64");
    works(ROOT, "image create made --from-folder {tree} --size 32MiB", /^made$/m, {
      field: "image",
      again: "image create made-2 --from-folder {tree} --size 32MiB",
    });
    refuses(USER, 4, "NOT_ROOT", "image create x --from-folder {tree}");
    refuses(ROOT, 3, "NO_FOLDER", "image create x --from-folder {tree}/none");
    refuses(ROOT, 1, "EXISTS", "image create base --from-folder {tree}");
    refuses(ROOT, 2, "NAME_INVALID", "image create a/b --from-folder {tree}");
    without("/usr/bin/tar", () => {
      refuses(ROOT, 1, "PROGRAM_MISSING", "image create x --from-folder {tree}");
    });
    works(ROOT, "image import in {tar} --size 32MiB", /^in$/m, {
      field: "content",
      again: "image import in-2 {tar} --size 32MiB",
    });
    refuses(USER, 4, "FORBIDDEN", "image import x {tar}");
    refuses(USER, 3, "NO_ARCHIVE", "image import x {tar}.none --origin base");
    refuses(ROOT, 1, "ARCHIVE_REFUSED", "image import x {text} --size 32MiB");
    refuses(ROOT, 1, "EXISTS", "image import in {tar} --size 32MiB");
    refuses(ROOT, 2, "USAGE", "image import x {tar} --sha256 0");
    refuses(ROOT, 1, "CHECKSUM_MISMATCH", `image import x {tar} --sha256 ${"0".repeat(64)}`);
    refuses(USER, 3, "NOT_FOUND", "image import x {tar} --origin private");
    // Of what was refused half way nothing is left.
    refuses(ROOT, 3, "NOT_FOUND", "device show x");
    works(USER, "image list", /^base +64 MiB +ext4 /m);
    works(ROOT, "image remove in --yes", /^in$/m, {
      field: "removed",
      again: "image remove in-2 --yes",
    });
    refuses(ROOT, 3, "NO_IMAGE", "image remove private --yes");
    refuses(ROOT, 3, "NOT_FOUND", "image remove missing --yes");
    refuses(USER, 4, "FORBIDDEN", "image remove base --yes");

    works(USER, "device clone base mine", /^mine$/m, {
      field: "uuid",
      again: "device clone base second",
    });
    refuses(USER, 3, "NOT_FOUND", "device clone private x");
    refuses(USER, 1, "EXISTS", "device clone base mine");
    refuses(USER, 2, "NAME_INVALID", "device clone base a/b");
    refuses(USER, 2, "USAGE", "device clone base x --lease 1h");
    refuses(USER, 4, "FORBIDDEN", "device clone base x --on-behalf-of 1001");
    refuses(ROOT, 2, "INVALID_PARAMS", "image publish mine");
    works(USER, "device snapshot mine then", /^then$/m, {
      field: "name",
      again: "device snapshot mine later",
    });
    refuses(USER, 3, "NOT_FOUND", "device snapshot missing x");
    refuses(USER, 1, "EXISTS", "device snapshot mine second");
    refuses(USER, 2, "NAME_INVALID", "device snapshot mine a/b");
    refuses(USER, 2, "USAGE", "device snapshot mine x second");
    works(USER, "device list", /^mine +64 MiB +ext4 +base +1000 /m);
    works(USER, "device tree", /[└├]─ mine +64 MiB +1000 /);
    works(USER, "device show mine", /^owner: +1000$/m, { field: "uuid" });
    refuses(USER, 3, "NOT_FOUND", "device show private");
    works(USER, "device label mine team=a", /^team=a$/m, { field: "labels" });
    refuses(USER, 4, "FORBIDDEN", "device label base team=a");
    refuses(USER, 2, "USAGE", "device label mine team");
    refuses(USER, 2, "INVALID_PARAMS", "device label mine a!b=c");
    refuses(USER, 3, "NOT_FOUND", "device label private team=a");
    works(USER, "device rename second other", /^other$/m, {
      field: "uuid",
      again: "device rename other second",
    });
    refuses(USER, 1, "EXISTS", "device rename second mine");
    refuses(USER, 2, "NAME_INVALID", "device rename second a/b");
    refuses(USER, 3, "NOT_FOUND", "device rename private x");
    refuses(USER, 4, "FORBIDDEN", "device rename base x");
    works(USER, "device resize mine 80MiB", /^mine: 80 MiB/m, { field: "filesystem" });
    refuses(USER, 2, "INVALID_PARAMS", "device resize mine 16MiB");
    refuses(USER, 2, "USAGE", "device resize mine 96");
    refuses(USER, 3, "NOT_FOUND", "device resize private 96MiB");
    refuses(USER, 4, "FORBIDDEN", "device resize base 96MiB");
    works(USER, "device diff mine then", /^(added|changed) +\d+ /m, { field: "ranges" });
    refuses(USER, 3, "NOT_FOUND", "device diff mine private");
    without("/usr/sbin/thin_delta", () => refuses(USER, 1, "UNSUPPORTED", "device diff mine then"));
    works(USER, "device revert second mine --dry-run", /^would revert second /m, {
      field: "would",
    });
    works(USER, "device revert mine then --yes", /^mine$/m, { field: "uuid" });
    refuses(USER, 3, "NOT_FOUND", "device revert mine missing --yes");
    refuses(USER, 4, "FORBIDDEN", "device revert base then --yes");
    works(USER, "device export mine {out}/a.tar", /^[0-9a-f]{64} {2}/, {
      field: "sha256",
      again: "device export mine {out}/b.tar",
    });
    refuses(USER, 1, "FILE_EXISTS", "device export mine {out}/a.tar");
    refuses(USER, 3, "NOT_FOUND", "device export private {out}/c.tar");
    refuses(USER, 1, "COPY_FAILED", "device export mine {out}/none/c.tar");

    works(USER, "mount mine --lease 1h", /\/mine$/m, { field: "reference" });
    refuses(USER, 4, "FORBIDDEN", "mount base");
    refuses(USER, 3, "NOT_FOUND", "mount private");
    refuses(USER, 4, "FORBIDDEN", "mount mine --at {out}");
    refuses(USER, 4, "FORBIDDEN", "mount mine --permanent");
    refuses(USER, 2, "USAGE", "mount mine --permanent --lease 1h");
    works(USER, "mounts", /^mine +\S+ +1000 +2 /m);
    works(ROOT, "mounts", /^mine +\S+ +1000 +2 /m);
    works(USER, "device trim mine", /^mine: .* given back$/m, { field: "trimmedBytes" });
    refuses(USER, 3, "NOT_MOUNTED", "device trim second");
    refuses(USER, 3, "NOT_FOUND", "device trim private");
    refuses(USER, 4, "FORBIDDEN", "device trim base");
    works(USER, "lease list", /^mine +(59m|1h) /m);
    works(USER, "lease renew mine --for 2h", /^mine: ends in /m, { field: "leaseLeftMs" });
    refuses(USER, 3, "NOT_MOUNTED", "lease renew second");
    refuses(USER, 2, "USAGE", "lease renew mine --for 2");
    for (const line of ["rename mine x", "revert mine then --yes", "remove mine --yes"]) {
      refuses(USER, 5, "BUSY", `device ${line}`);
    }
    // Twice mounted by the row above, as text and as JSON; the last one is taken first.
    works(USER, "umount mine", /^mine: references left: 1$/m, { field: "count" });
    works(USER, "mount mine --lease 1h", /\/mine$/m, { field: "reference" });
    works(USER, "lease release mine", /^mine: references left: 1$/m, { field: "count" });
    refuses(USER, 3, "NOT_MOUNTED", "umount mine");
    refuses(USER, 3, "NOT_MOUNTED", "lease release mine");
    told("place", USER, "mount second --lease 1h", "path");
    held("place", () => {
      for (const verb of ["umount", "lease release"]) refuses(USER, 5, "BUSY", `${verb} second`);
    });
    told("count", USER, "umount second", "count");

    works(ROOT, "device activate private", /\/private$/m, { field: "path" });
    refuses(USER, 4, "FORBIDDEN", "device activate mine");
    refuses(ROOT, 5, "BUSY", "mount private");
    works(ROOT, "device deactivate private", /^private: references left: 1$/m, { field: "count" });
    refuses(ROOT, 3, "NOT_MOUNTED", "device deactivate private");
    told("node", ROOT, "device activate private", "path");
    held("node", () => refuses(ROOT, 5, "BUSY", "device deactivate private"));
    told("count", ROOT, "device deactivate private", "count");
    refuses(USER, 3, "NOT_FOUND", "device activate private");
    told("place", ROOT, "mount base --read-only", "path");
    for (const line of ["device activate base", "image remove base --yes"]) {
      refuses(ROOT, 5, "BUSY", line);
    }
    told("count", ROOT, "umount base", "count");

    works(LIMITED, "device clone base small", /^small$/m, {
      field: "uuid",
      again: "device clone base small-2",
    });
    for (const line of ["device clone base x", "device snapshot small x"]) {
      refuses(LIMITED, 4, "LIMIT", line);
    }
    refuses(LIMITED, 4, "LIMIT", "image import x {tar} --origin base");
    refuses(LIMITED, 4, "LIMIT", "device resize small 128MiB");
    refuses(LIMITED, 2, "INVALID_PARAMS", "mount small --lease 3h");
    works(LIMITED, "mount small --lease 1h", /\/small$/m, { field: "reference" });
    refuses(LIMITED, 4, "LIMIT", "mount small --lease 1h");
    refuses(LIMITED, 2, "INVALID_PARAMS", "lease renew small --for 3h");
    works(LIMITED, "umount small", /^small: references left: 1$/m, { field: "count" });

    works(USER, "token create mine --allow clone", /^[\w-]{43}$/m, { field: "secret" });
    refuses(USER, 3, "NOT_FOUND", "token create private --allow clone");
    refuses(USER, 4, "FORBIDDEN", "token create base --allow clone");
    refuses(USER, 2, "USAGE", "token create mine");
    works(ROOT, "token connect --user 1000", /^[\w-]{43}$/m, { field: "secret" });
    refuses(USER, 4, "FORBIDDEN", "token connect");
    works(USER, "token list", /^\S{36} +mine +clone +any +1000 /m);
    works(ROOT, "token list --connect", /^\S{36} +1000 +0 /m);
    told("first", USER, "token create mine --allow clone", "id");
    told("second", USER, "token create mine --allow clone", "id");
    works(USER, "token revoke {first}", /^\S{36}$/m, {
      field: "revoked",
      again: "token revoke {second}",
    });
    refuses(USER, 3, "NOT_FOUND", "token revoke {first}");

    works(ROOT, "policy test 1000 clone base", /^allowed by testers$/m, { field: "rule" });
    refuses(USER, 4, "FORBIDDEN", "policy test 1000 use");
    refuses(ROOT, 3, "NOT_FOUND", "policy test nobody-here use");
    refuses(ROOT, 2, "USAGE", "policy test 1000 fly");

    works(USER, "doctor", /^ok +daemon /m, { field: "canUse" });
    const closed = ["recover", "repair", "restore --yes", "destroy --yes"];
    const direct = ["check", "backup", "extend --data-size 1GiB", "events"];
    for (const verb of [...closed, ...direct]) {
      refuses(ROOT, 5, "POOL_LOCKED", `pool ${verb} --direct`);
    }
    refuses(ROOT, 5, "POOL_LOCKED", "device list --direct");
    refuses(USER, 4, "NATIVE_PERMISSION", "pool list");

    works(ROOT, "pool set --overprovision forbid", /^overprovision: +forbid$/m, {
      field: "outcome",
    });
    refuses(ROOT, 6, "NO_SPACE", "device create big --size 1GiB");
    works(USER, "device remove then", /^then$/m, {
      field: "removed",
      again: "device remove later",
    });
    refuses(USER, 3, "NOT_FOUND", "device remove then");
    refuses(USER, 4, "FORBIDDEN", "device remove base");
  });

  suite("of a daemon over TCP", () => {
    before(async () => {
      const tls = await makeCertificate(scratch);
      words["ca"] = join(scratch, "ca.pem");
      words["otherCa"] = join(scratch, "other-ca.pem");
      await writeFile(words["ca"], tls.certificate);
      const other = await makeCertificate(scratch, { name: "other", host: "other.example" });
      await writeFile(words["otherCa"], other.certificate);
      const more = ["--tcp", `127.0.0.1:${PORT}`, "--tls-certificate", tls.certificateFile];
      await w.serve(["--policy", words["policy"] ?? "", ...more, "--tls-key", tls.keyFile]);
      await using root = await connect({ socketPath: w.socketPath });
      const make = (lifetimeMs: number) =>
        root.rights.createConnectToken({ uid: USER.uid, lifetimeMs });
      words["good"] = (await make(3_600_000)).secret;
      const revoked = await make(3_600_000);
      words["revoked"] = revoked.secret;
      await root.rights.revokeToken({ id: revoked.id });
      // The shortest there is: it has ended before its row.
      words["expired"] = (await make(1_000)).secret;
    });
    after(() => w.stop());

    const over = "--url {url} --ca {ca}";
    bearing("good", () => {
      works(ROOT, `whoami ${over}`, /testers/, { field: "uid" });
      works(STRANGER, "whoami --url {urlByName} --ca {ca}", /testers/, { field: "uid" });
      refuses(STRANGER, 4, "FORBIDDEN", `pool check ${over}`);
      refuses(STRANGER, 4, "TLS_FAILED", "whoami --url {url}");
      refuses(STRANGER, 4, "TLS_FAILED", "device list --url {url} --ca {otherCa}");
      refuses(STRANGER, 4, "TLS_FAILED", "whoami --url {url} --ca {text}");
      refuses(STRANGER, DOWN, "DAEMON_UNREACHABLE", "whoami --url {urlOfNobody} --ca {ca}");
    });
    for (const name of ["none", "wrong", "revoked", "expired"]) {
      bearing(name, () => refuses(STRANGER, 4, "UNAUTHORIZED", `device list ${over}`));
    }
  });

  suite("of a host without space", () => {
    const sizes = "--data-size 64MiB --metadata-size 4MiB";
    const at = "--folder {small}/pool";
    before(async () => {
      const small = words["small"] ?? "";
      await mkdir(small);
      await run("mount", ["-t", "tmpfs", "-o", "size=40m,mode=755", "none", small]);
      const files = join(scratch, "big");
      await mkdir(files);
      await writeFile(join(files, "noise"), randomBytes(24 * MIB));
      execFileSync("tar", ["-cf", join(scratch, "big.tar"), "-C", files, "."]);
    });
    after(() => run("umount", [words["small"] ?? ""]));

    full("small", 0, () => {
      refuses(ROOT, 6, "POOL_NO_SPACE", `pool create ${sizes} ${at}`);
    });
    // A lock file's bytes fit, a ledger's don't.
    full("small", 48 << 10, () => {
      refuses(ROOT, 6, "POOL_NO_SPACE", `pool create ${sizes} ${at}`);
    });
    test("of what was refused nothing is left", async () => {
      assert.deepEqual(await readdir(words["small"] ?? ""), []);
    });
    told("uuid", ROOT, `pool create ${sizes} ${at}`, "uuid");
    full("small", 0, () => {
      refuses(ROOT, 6, "POOL_NO_SPACE", `pool extend --direct --data-size 128MiB ${at}`);
      refuses(ROOT, 6, "POOL_NO_SPACE", `pool backup --direct ${at}`);
    });

    suite("which the daemon has", () => {
      before(() => w.serve(["--folder", join(words["small"] ?? "", "pool")]));
      after(() => w.stop());
      told("uuid", ROOT, "device create first --size 64MiB", "uuid");
      full("small", 0, () => {
        refuses(ROOT, 6, "NO_SPACE", "pool extend --data-size 128MiB");
        refuses(ROOT, 6, "NO_SPACE", "pool backup");
        refuses(ROOT, 6, "NO_SPACE", "device create x --size 64MiB");
        refuses(ROOT, 6, "NO_SPACE", "device clone first x");
        refuses(ROOT, 6, "NO_SPACE", "image import x {tar} --size 32MiB");
      });
      full("small", 12 << 20, () => {
        refuses(ROOT, 6, "NO_SPACE", "image import x {big} --size 64MiB");
      });
      refuses(ROOT, 3, "NOT_FOUND", "device show x");
      // What was written meanwhile is whole.
      works(ROOT, "pool check", /^metadata clean, nothing is wrong$/m, { field: "findings" });
    });
  });

  suite("of the pool afterwards", () => {
    works(ROOT, "pool check --direct", /^metadata clean, nothing is wrong$/m, {
      field: "findingsLeftOut",
    });
    works(ROOT, "pool recover", /^All was in order\.$/m, { field: "done" });
    works(ROOT, "pool backup --direct", /^\d{8}T\d{9}Z-t\d+$/m, { field: "name" });
    works(ROOT, "pool backup --direct --list", /^\d{8}T\d{9}Z-t\d+ /m);
    refuses(ROOT, 2, "POOL_OPTION_INVALID", "pool extend --direct");
    refuses(ROOT, 2, "POOL_OPTION_INVALID", "pool extend --direct --data-size 64MiB");
    works(ROOT, "pool extend --direct --data-size 768MiB", /^data 768 MiB, /m, {
      field: "outcome",
    });
    works(ROOT, "pool repair", /^The metadata is sound\.$/m, { field: "outcome" });
    refuses(ROOT, 2, "USAGE", "pool restore");
    refuses(ROOT, 3, "NO_BACKUP", "pool restore missing --yes");
    without("/usr/sbin/thin_check", () => {
      works(ROOT, "pool check --direct", /^metadata unknown, /m, {
        field: "findings",
        exitCode: 1,
      });
      for (const verb of ["backup --direct", "repair", "restore --yes"]) {
        refuses(ROOT, 1, "POOL_TOOL_MISSING", `pool ${verb}`);
      }
    });

    told("place", ROOT, "mount private --direct", "path");
    for (const verb of ["repair", "restore --yes", "destroy --yes"]) {
      refuses(ROOT, 5, "DEVICE_BUSY", `pool ${verb}`);
    }
    told("count", ROOT, "umount private --direct", "count");
    works(ROOT, "pool restore --yes", /^\S+: transaction \d+$/m, { field: "transactionId" });

    const [ledger, lost] = [join(w.folder, "pool.sqlite"), join(scratch, "lost.sqlite")];
    const files = "--data-file {data} --metadata-file {metadata}";
    refuses(ROOT, 8, "POOL_MISMATCH", `pool adopt ${files} --folder {adopted}`);
    test("opened once, the backup's metadata has the size that the data has grown to", async () => {
      const { exitCode, stderr } = await runAs(ROOT, "pool recover");
      assert.equal(exitCode, 0, stderr);
    });
    test("as if another program had made the pool: its ledger is gone", () => rename(ledger, lost));
    works(ROOT, `pool adopt ${files} --folder {adopted}`, /^[0-9a-f-]{36}$/m, {
      field: "devices",
      again: `pool adopt ${files} --folder {adopted2}`,
    });
    refuses(ROOT, 1, "POOL_EXISTS", `pool adopt ${files} --folder {adopted}`);
    refuses(USER, 4, "POOL_PERMISSION", `pool adopt ${files} --folder {out}/adopted`);
    test("and is there again", () => rename(lost, ledger));
    refuses(ROOT, 2, "USAGE", "pool adopt");
    refuses(ROOT, 2, "USAGE", "pool destroy");
  });

  suite("of a damaged pool", () => {
    before(async () => {
      await using file = await open(join(words["pool4"] ?? "", "metadata"), "r+");
      await file.write(Buffer.alloc(4096, "x"), 0, 4096, 0);
    });
    const at = "--folder {pool4}";
    works(ROOT, `pool check --direct ${at}`, /^METADATA_DAMAGED /m, {
      field: "findings",
      exitCode: 8,
    });
    const opening = ["backup --direct", "extend --data-size 128MiB --direct", "recover"];
    for (const line of [
      ...opening.map((verb) => `pool ${verb}`),
      "device list --direct",
      "serve",
    ]) {
      refuses(ROOT, 8, "POOL_NEEDS_REPAIR", `${line} ${at}`);
    }
    works(ROOT, `pool repair ${at}`, /^Repaired; the damaged metadata is kept at /m, {
      field: "outcome",
    });
    works(ROOT, `pool check --direct ${at}`, /^metadata clean, /m, { field: "findings" });
  });

  test("no command was left out, and each was refused as well", () => {
    // A service's journal, a terminal, and a process that goes on: seen elsewhere.
    const elsewhere = new Set(["logs", "top", "serve"]);
    const unrefused = (names: readonly string[], code: string): string[] =>
      names.filter((name) => !covered.refused.has(`${name} ${code}`));
    const missing = {
      done: commands.all.filter((name) => !covered.done.has(name) && !elsewhere.has(name)),
      json: [...commands.withJson].filter((name) => !covered.json.has(name)),
      usage: unrefused(commands.all, "USAGE"),
      down: unrefused(commands.asking, "DAEMON_UNREACHABLE"),
    };
    // Where it finds no terminal `top` looks no further.
    assert.deepEqual(missing, { done: [], json: [], usage: [], down: ["top"] });
  });
});

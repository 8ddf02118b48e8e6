/**
 * Every command of `thinpool` on a real kernel: as text and as JSON, where it works and where it is
 * refused, as root and as uid 1000. Rows run in their order, each twice: once as text, once as JSON. What
 * the commands do to the devices is looked at in cli-commands.test.ts.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { PLAIN_FAILURE, thinpool } from "../e2e/cli-process.ts";
import { cliWorld, run, USER } from "./cli-world.ts";
import { kernelState } from "./kernel-state.ts";

const untouched = kernelState();
const w = await cliWorld();
const { scratch, env, runtime } = w;
const ROOT = undefined;
const DOWN = 7;

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
  data: join(w.folder, "data"),
  metadata: join(w.folder, "metadata"),
};

/** What was run: a command's words by whether it was let. */
const covered = { done: new Set<string>(), refused: new Set<string>(), json: new Set<string>() };

interface Commands {
  readonly all: readonly string[];
  readonly withJson: ReadonlySet<string>;
}

/** As the reference has them, which a test keeps current. */
async function commandsOfReference(): Promise<Commands> {
  const path = join(import.meta.dirname, "../../packages/cli/COMMANDS.md");
  const sections = (await readFile(path, "utf8")).split("\n## thinpool ").slice(1);
  const entries = sections.map((text) => ({
    name: text.slice(0, text.indexOf("\n")),
    json: text.includes("- `--json`"),
  }));
  return {
    all: entries.map(({ name }) => name),
    withJson: new Set(entries.filter(({ json }) => json).map(({ name }) => name)),
  };
}
const commands = await commandsOfReference();

const commandOf = (line: string): string => {
  const found = commands.all.find((name) => line === name || line.startsWith(`${name} `));
  return found ?? assert.fail(`no command in ${line}`);
};

function argsOf(line: string): string[] {
  return line
    .replaceAll(/\{(\w+)\}/g, (_, name: string) => words[name] ?? assert.fail(name))
    .split(" ");
}

type User = typeof USER | undefined;

const runAs = (user: User, line: string, more: readonly string[] = []) =>
  thinpool([...argsOf(line), ...more], { env, runtime, ...(user === undefined ? {} : { user }) });

const title = (user: User, line: string): string =>
  `${user === undefined ? "root" : "user"}: ${line}`;

/** It works: what the text is like, and a field that the JSON has ("" where it is a list). */
function works(
  user: User,
  line: string,
  text: RegExp,
  /** `again`: the line for the JSON, where the same can't be done twice. */
  { field = "", again = line }: { readonly field?: string; readonly again?: string } = {},
): void {
  test(title(user, line), async () => {
    const name = commandOf(line);
    const plain = await runAs(user, line);
    assert.equal(plain.exitCode, 0, plain.stderr);
    assert.match(plain.stdout, text);
    covered.done.add(name);
    if (!commands.withJson.has(name)) return;
    const json = await runAs(user, again, ["--json"]);
    assert.deepEqual([json.exitCode, json.stderr], [0, ""], json.stdout);
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
    covered.refused.add(name);
    if (!commands.withJson.has(name)) return;
    const json = await runAs(user, line, ["--json"]);
    assert.equal(json.stderr, "");
    const { error } = JSON.parse(json.stdout) as { error: Record<string, unknown> };
    assert.deepEqual([error["code"], error["exitCode"], json.exitCode], [code, exitCode, exitCode]);
  });
}

/** Ids that the rows after it name. */
function told(name: string, user: User, line: string, field: string): void {
  test(`${title(user, line)} tells ${name}`, async () => {
    const { stdout } = await runAs(user, line, ["--json"]);
    words[name] = String((JSON.parse(stdout) as Record<string, unknown>)[field]);
  });
}

suite("every command on a real kernel", () => {
  before(async () => {
    const rule = { name: "testers", users: [USER.uid], allow: { clone: { public: true } } };
    await writeFile(words["policy"] ?? "", JSON.stringify({ version: 1, rules: [rule] }), {
      mode: 0o644,
    });
    await mkdir(join(scratch, "tree/sub"), { recursive: true });
    await writeFile(join(scratch, "tree/sub/file"), "content\n");
    await writeFile(join(scratch, "text"), "no archive".repeat(1000));
    execFileSync("tar", ["-cf", join(scratch, "tree.tar"), "-C", join(scratch, "tree"), "."]);
    await run("chmod", ["-R", "a+rX", join(scratch, "tree"), join(scratch, "tree.tar")]);
    await mkdir(join(scratch, "out"));
    await chmod(join(scratch, "out"), 0o777);
  });

  after(async () => {
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
    refuses(ROOT, 2, "USAGE", "service status --nope");
    refuses(USER, 3, "NO_JOURNAL", "logs");
    refuses(USER, 2, "USAGE", "top");
    works(ROOT, "doctor", /^ok +kernel /m, { field: "canServe" });
    refuses(USER, 2, "USAGE", "doctor --nope");
    works(USER, "policy show --policy {policy}", /^about: +users 1000$/m, { field: "rules" });
    refuses(USER, 2, "POLICY_INVALID", "policy show --policy {text}");
  });

  suite("of a pool that is down, and of none", () => {
    const sizes = "--data-size 512MiB --metadata-size 8MiB --low-water 16MiB";
    refuses(USER, 4, "POOL_PERMISSION", "pool create --folder {out}/pool");
    refuses(ROOT, 2, "POOL_OPTION_INVALID", "pool create --block-size 96KiB");
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
    for (const verb of ["check", "recover", "backup", "repair", "restore", "events --direct"]) {
      const code = verb === "restore" ? "NO_BACKUP" : "POOL_NOT_FOUND";
      refuses(ROOT, 3, code, `pool ${verb} --folder {pool3}`);
    }
    refuses(ROOT, 3, "POOL_NOT_FOUND", "pool destroy --yes --folder {pool3}");
    refuses(ROOT, 3, "POOL_NOT_FOUND", "pool extend --data-size 1GiB --folder {pool3}");
    refuses(ROOT, 3, "NO_BACKUP", "pool restore");
    const asking = ["whoami", "mounts", "image list", "lease list", "token list"];
    const ofPool = ["pool status", "pool set", "pool events"];
    for (const line of [...asking, "device list", "device tree", ...ofPool]) {
      refuses(USER, DOWN, "DAEMON_UNREACHABLE", line);
    }
    for (const line of ["device tree --direct", "pool set --direct"]) {
      refuses(USER, 2, "USAGE", line);
    }
    refuses(ROOT, 3, "POOL_NOT_FOUND", "serve --folder {pool3}");
    works(ROOT, "pool set --direct --data-floor 8MiB", /^data floor: +8 MiB$/m, {
      field: "policy",
    });
    works(ROOT, "pool status --direct", /^state: +working$/m, { field: "uuid" });
    works(ROOT, "pool events --direct --after 1", /policy-changed$/m);
  });

  suite("of the daemon", () => {
    before(() => w.serve(["--policy", words["policy"] ?? ""]));
    after(() => w.stop());

    refuses(ROOT, 5, "POOL_LOCKED", "serve --socket {out}/other.sock");
    works(ROOT, "whoami", /root/, { field: "uid" });
    works(USER, "whoami", /testers/, { field: "uid" });
    works(USER, "pool status", /^state: +working$/m, { field: "uuid" });
    works(USER, "pool events", /pool-opened$/m);
    refuses(USER, 2, "INVALID_PARAMS", "pool events --after 1000000");
    works(ROOT, "pool set --data-floor 4MiB", /^data floor: +4 MiB$/m, { field: "outcome" });
    refuses(USER, 4, "FORBIDDEN", "pool set");
    refuses(ROOT, 2, "INVALID_PARAMS", "pool set --overprovision 0.5");

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
    works(ROOT, "image create made --from-folder {tree} --size 32MiB", /^made$/m, {
      field: "image",
      again: "image create made-2 --from-folder {tree} --size 32MiB",
    });
    refuses(USER, 4, "NOT_ROOT", "image create x --from-folder {tree}");
    refuses(ROOT, 3, "NO_FOLDER", "image create x --from-folder {tree}/none");
    works(ROOT, "image import in {tar} --size 32MiB", /^in$/m, {
      field: "content",
      again: "image import in-2 {tar} --size 32MiB",
    });
    refuses(USER, 4, "FORBIDDEN", "image import x {tar}");
    refuses(USER, 3, "NO_ARCHIVE", "image import x {tar}.none --origin base");
    refuses(ROOT, 1, "ARCHIVE_REFUSED", "image import x {text} --size 32MiB");
    refuses(ROOT, 1, "EXISTS", "image import in {tar} --size 32MiB");
    works(USER, "image list", /^base +64 MiB +ext4 /m);
    works(ROOT, "image remove in --yes", /^in$/m, {
      field: "removed",
      again: "image remove in-2 --yes",
    });
    refuses(ROOT, 3, "NO_IMAGE", "image remove private --yes");
    refuses(USER, 4, "FORBIDDEN", "image remove base --yes");

    works(USER, "device clone base mine", /^mine$/m, {
      field: "uuid",
      again: "device clone base second",
    });
    refuses(USER, 3, "NOT_FOUND", "device clone private x");
    refuses(USER, 1, "EXISTS", "device clone base mine");
    works(USER, "device snapshot mine then", /^then$/m, {
      field: "name",
      again: "device snapshot mine later",
    });
    refuses(USER, 3, "NOT_FOUND", "device snapshot missing x");
    works(USER, "device list", /^mine +64 MiB +ext4 +base +1000 /m);
    works(USER, "device tree", /[└├]─ mine +64 MiB +1000 /);
    refuses(USER, 2, "USAGE", "device list --nope");
    works(USER, "device show mine", /^owner: +1000$/m, { field: "uuid" });
    refuses(USER, 3, "NOT_FOUND", "device show private");
    works(USER, "device label mine team=a", /^team=a$/m, { field: "labels" });
    refuses(USER, 4, "FORBIDDEN", "device label base team=a");
    refuses(USER, 2, "USAGE", "device label mine team");
    works(USER, "device rename second other", /^other$/m, {
      field: "uuid",
      again: "device rename other second",
    });
    refuses(USER, 1, "EXISTS", "device rename second mine");
    works(USER, "device resize mine 80MiB", /^mine: 80 MiB/m, { field: "filesystem" });
    refuses(USER, 2, "INVALID_PARAMS", "device resize mine 16MiB");
    works(USER, "device diff mine then", /^(added|changed) +\d+ /m, { field: "ranges" });
    refuses(USER, 3, "NOT_FOUND", "device diff mine private");
    works(USER, "device revert second mine --dry-run", /^would revert second /m, {
      field: "would",
    });
    works(USER, "device revert mine then --yes", /^mine$/m, { field: "uuid" });
    refuses(USER, 3, "NOT_FOUND", "device revert mine missing --yes");
    works(USER, "device export mine {out}/a.tar", /^[0-9a-f]{64} {2}/, {
      field: "sha256",
      again: "device export mine {out}/b.tar",
    });
    refuses(USER, 1, "FILE_EXISTS", "device export mine {out}/a.tar");
    refuses(USER, 3, "NOT_FOUND", "device export private {out}/c.tar");

    works(USER, "mount mine --lease 1h", /\/mine$/m, { field: "reference" });
    refuses(USER, 4, "FORBIDDEN", "mount base");
    refuses(USER, 3, "NOT_FOUND", "mount private");
    refuses(USER, 4, "FORBIDDEN", "mount mine --at {out}");
    works(USER, "mounts", /^mine +\S+ +1000 +2 /m);
    works(ROOT, "mounts", /^mine +\S+ +1000 +2 /m);
    works(USER, "device trim mine", /^mine: .* given back$/m, { field: "trimmedBytes" });
    refuses(USER, 3, "NOT_MOUNTED", "device trim second");
    works(USER, "lease list", /^mine +(59m|1h) /m);
    works(USER, "lease renew mine --for 2h", /^mine: ends in /m, { field: "leaseLeftMs" });
    refuses(USER, 3, "NOT_MOUNTED", "lease renew second");
    for (const line of ["rename mine x", "revert mine then --yes", "remove mine --yes"]) {
      refuses(USER, 5, "BUSY", `device ${line}`);
    }
    // Twice mounted by the row above, as text and as JSON; the last one is taken first.
    works(USER, "umount mine", /^mine: references left: 1$/m, { field: "count" });
    works(USER, "mount mine --lease 1h", /\/mine$/m, { field: "reference" });
    works(USER, "lease release mine", /^mine: references left: 1$/m, { field: "count" });
    refuses(USER, 3, "NOT_MOUNTED", "umount mine");
    refuses(USER, 3, "NOT_MOUNTED", "lease release mine");

    works(ROOT, "device activate private", /\/private$/m, { field: "path" });
    refuses(USER, 4, "FORBIDDEN", "device activate mine");
    refuses(ROOT, 5, "BUSY", "mount private");
    works(ROOT, "device deactivate private", /^private: references left: 1$/m, { field: "count" });
    refuses(ROOT, 3, "NOT_MOUNTED", "device deactivate private");

    works(USER, "token create mine --allow clone", /^[\w-]{43}$/m, { field: "secret" });
    refuses(USER, 3, "NOT_FOUND", "token create private --allow clone");
    refuses(USER, 4, "FORBIDDEN", "token create base --allow clone");
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

    works(USER, "doctor", /^ok +daemon /m, { field: "canUse" });
    for (const verb of ["check", "recover", "backup", "repair", "destroy --yes"]) {
      refuses(ROOT, 5, "POOL_LOCKED", `pool ${verb}`);
    }
    refuses(ROOT, 5, "POOL_LOCKED", "pool extend --data-size 1GiB");
    refuses(ROOT, 5, "POOL_LOCKED", "pool events --direct");
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

  suite("of the pool afterwards", () => {
    works(ROOT, "pool check", /^metadata clean, nothing is wrong$/m, { field: "findings" });
    works(ROOT, "pool recover", /^All was in order\.$/m, { field: "done" });
    works(ROOT, "pool backup", /^\d{8}T\d{9}Z-t\d+$/m, { field: "name" });
    works(ROOT, "pool backup --list", /^\d{8}T\d{9}Z-t\d+ /m);
    refuses(ROOT, 2, "POOL_OPTION_INVALID", "pool extend");
    refuses(ROOT, 2, "POOL_OPTION_INVALID", "pool extend --data-size 64MiB");
    works(ROOT, "pool extend --data-size 768MiB", /^data 768 MiB, /m, { field: "outcome" });
    works(ROOT, "pool repair", /^The metadata is sound\.$/m, { field: "outcome" });
    refuses(ROOT, 2, "USAGE", "pool restore");
    refuses(ROOT, 3, "NO_BACKUP", "pool restore missing --yes");
    works(ROOT, "pool restore --yes", /^\S+: transaction \d+$/m, { field: "transactionId" });
    works(
      ROOT,
      "pool adopt --data-file {data} --metadata-file {metadata} --folder {adopted}",
      /^[0-9a-f-]{36}$/m,
      {
        field: "devices",
        again: "pool adopt --data-file {data} --metadata-file {metadata} --folder {adopted2}",
      },
    );
    refuses(ROOT, 2, "USAGE", "pool adopt");
    refuses(ROOT, 2, "USAGE", "pool destroy");
    for (const verb of ["check", "recover", "backup", "repair", "destroy --yes"]) {
      refuses(USER, 4, "POOL_PERMISSION", `pool ${verb}`);
    }
  });

  test("no command was left out, and each was refused as well", () => {
    // A service's journal, a terminal, and a process that goes on: seen elsewhere.
    const elsewhere = new Set(["logs", "top", "serve"]);
    const missing = {
      done: commands.all.filter((name) => !covered.done.has(name) && !elsewhere.has(name)),
      json: [...commands.withJson].filter((name) => !covered.json.has(name)),
      // These answer whoever may ask, and show what there is.
      refused: commands.all.filter((name) => !covered.refused.has(name)),
    };
    assert.deepEqual(missing, { done: [], json: [], refused: [] });
  });
});

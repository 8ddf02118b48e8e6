import assert from "node:assert/strict";
import { test } from "node:test";
import type { CommandEntry } from "../docs/entries.ts";
import { candidates, type LiveNames } from "./candidates.ts";

const entry = (path: string, more: Partial<CommandEntry> = {}): CommandEntry => ({
  path: path.split(" "),
  summary: "",
  description: "",
  args: [],
  flags: [],
  examples: [],
  ...more,
});
const flag = (name: string, options?: readonly string[]) => ({
  usage: `--${name}`,
  name,
  summary: "",
  options: options ?? [],
  takesValue: options !== undefined,
});
const arg = (name: string, options: readonly string[] = []) => ({
  name,
  options,
  label: name,
  description: "",
  required: true,
  multiple: false,
});
const ENTRIES = [
  entry("device create", { args: [arg("name")], flags: [flag("filesystem", ["ext4", "xfs"])] }),
  entry("device snapshot", { args: [arg("origin"), arg("name")], flags: [flag("json")] }),
  entry("image remove", { args: [arg("image")] }),
  entry("label", { args: [arg("device"), { ...arg("more"), multiple: true }] }),
  entry("policy test", { args: [arg("user"), arg("verb", ["clone", "create", "see"])] }),
  entry("pool status"),
  entry("token revoke", { args: [arg("token")] }),
  entry("umount", { args: [arg("what")] }),
];
let asked = 0;
const live: LiveNames = {
  devices: () => {
    asked += 1;
    return Promise.resolve(["base", "base-2", "mine"]);
  },
  images: () => Promise.resolve(["base"]),
  references: () => Promise.resolve(["ref-1"]),
  tokens: () => Promise.resolve(["token-1"]),
  errorCodes: () => ["BUSY"],
};
const complete = (line: string): Promise<readonly string[]> => {
  const words = line.split(" ");
  return candidates(ENTRIES, words.slice(0, -1), words.at(-1) ?? "", live);
};

test("commands and their verbs", async () => {
  assert.deepEqual(await complete(""), [
    "device",
    "image",
    "label",
    "policy",
    "pool",
    "token",
    "umount",
  ]);
  assert.deepEqual(await complete("device "), ["create", "snapshot"]);
  assert.deepEqual(await complete("device s"), ["snapshot"]);
  assert.deepEqual(await complete("nonsense "), []);
});

test("live names for arguments that exist, none for new ones", async () => {
  assert.deepEqual(await complete("device snapshot ba"), ["base", "base-2"]);
  assert.deepEqual(await complete("device snapshot base "), []);
  assert.deepEqual(await complete("image remove "), ["base"]);
  assert.deepEqual(await complete("token revoke "), ["token-1"]);
  assert.deepEqual(await complete("label base ba"), ["base", "base-2"]);
  assert.deepEqual(await complete("label base base ba"), ["base", "base-2"]);
  assert.deepEqual(await complete("umount "), ["base", "base-2", "mine", "ref-1"]);
});

test("the values of an argument that has only some", async () => {
  assert.deepEqual(await complete("policy test x c"), ["clone", "create"]);
  assert.deepEqual(await complete("policy test x clone "), []);
});

test("the daemon is not asked where its names are not wanted", async () => {
  const before = asked;
  await complete("device create ");
  await complete("device snapshot --");
  assert.equal(asked, before);
});

test("flags, and a flag's values; neither is taken for an argument", async () => {
  assert.deepEqual(await complete("device snapshot --"), ["--json"]);
  assert.deepEqual(await complete("device create --filesystem "), ["ext4", "xfs"]);
  assert.deepEqual(await complete("device create --filesystem x"), ["xfs"]);
  assert.deepEqual(await complete("device snapshot --json ba"), ["base", "base-2"]);
});

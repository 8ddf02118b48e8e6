import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { errorCodeNames, methodNames } from "@thinpool/protocol";
import { OPENRPC_PATH, PROTOCOL_PATH, errorRows, methodRows, openRpcDocument } from "./openrpc.ts";

interface Document {
  readonly methods: readonly {
    readonly name: string;
    readonly result?: { readonly schema: unknown };
  }[];
  readonly components: {
    readonly schemas: Readonly<Record<string, unknown>>;
    readonly errors: Readonly<Record<string, unknown>>;
  };
}

test("docs/openrpc.json is what the schemas say (node --conditions=source tools/openrpc.ts)", () => {
  assert.equal(readFileSync(OPENRPC_PATH, "utf8"), openRpcDocument());
});

test("it has every method with its result, every error, and no reference to nothing", () => {
  const document = JSON.parse(openRpcDocument()) as Document;
  const withResult = document.methods.filter(({ result }) => result !== undefined);
  assert.deepEqual(
    withResult.map(({ name }) => name),
    methodNames.toSorted(),
  );
  assert.deepEqual(Object.keys(document.components.errors), [...errorCodeNames]);
  const references = Array.from(
    openRpcDocument().matchAll(/"\$ref": "#\/components\/schemas\/(\w+)"/g),
    ([, name]) => name ?? "",
  );
  assert.ok(references.length > 0);
  for (const name of references) assert.ok(Object.hasOwn(document.components.schemas, name), name);
});

/** The rows of the table whose head begins with `first`. */
function rowsOf(text: string, first: string): readonly (readonly string[])[] {
  const lines = text.split("\n");
  const head = lines.findIndex((line) => line.startsWith(`| ${first} `));
  return lines.slice(head + 2, lines.indexOf("", head)).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

test("the tables of docs/PROTOCOL.md are those of the code", () => {
  const text = readFileSync(PROTOCOL_PATH, "utf8");
  assert.deepEqual(rowsOf(text, "method"), methodRows());
  assert.deepEqual(rowsOf(text, "code"), errorRows());
});

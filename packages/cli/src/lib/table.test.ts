import assert from "node:assert/strict";
import { test } from "node:test";
import { renderFields, renderTable } from "./table.ts";

const columns = [
  { heading: "NAME", value: (row: { name: string; size: string }) => row.name },
  { heading: "SIZE", align: "right" as const, value: (row: { size: string }) => row.size },
];

test("columns are as wide as their widest cell, and lines have no blanks at their end", () => {
  const rows = [
    { name: "a", size: "10 GiB" },
    { name: "longer", size: "1 B" },
  ];
  assert.equal(renderTable(columns, rows), "NAME      SIZE\na       10 GiB\nlonger     1 B");
  assert.equal(renderTable(columns.slice(0, 1), rows), "NAME\na\nlonger");
});

test("without rows there are the headings", () => {
  assert.equal(renderTable(columns, []), "NAME  SIZE");
});

test("fields are aligned below each other", () => {
  const text = renderFields([
    ["uuid", "1"],
    ["low water", "2"],
  ]);
  assert.equal(text, "uuid:       1\nlow water:  2");
});

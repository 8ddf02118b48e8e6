/** A small aligned table: a line of headings, then one line for each row. */

export interface Column<Row> {
  readonly heading: string;
  readonly value: (row: Row) => string;
  readonly align?: "left" | "right";
}

const GAP = "  ";

/** Without rows only the headings, so that a script that skips one line still works. */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = [
    columns.map(({ heading }) => heading),
    ...rows.map((row) => columns.map(({ value }) => value(row))),
  ];
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]?.length ?? 0)));
  return cells
    .map((line) =>
      line
        .map((cell, at) => {
          const width = widths[at] ?? 0;
          return columns[at]?.align === "right" ? cell.padStart(width) : cell.padEnd(width);
        })
        .join(GAP)
        .trimEnd(),
    )
    .join("\n");
}

/** Names and values below each other: "state:  working"; one without a name goes on with the last. */
export function renderFields(fields: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...fields.map(([name]) => name.length)) + 1;
  return fields
    .map(([name, value]) => `${(name === "" ? "" : `${name}:`).padEnd(width)}  ${value}`)
    .join("\n");
}

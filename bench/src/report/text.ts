/** The result as text for people. */
import type { Report } from "./report.ts";
import type { Target } from "./targets.ts";

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

export function number(value: number | undefined): string {
  if (value === undefined) return "-";
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** What was aimed at, and whether it was reached. */
export function aim(target: Target): readonly [string, string] {
  const { better, wanted, measured, met } = target;
  const aimedAt =
    wanted === undefined ? "" : `${better === "less" ? "at most" : "at least"} ${wanted}`;
  if (measured === undefined) return [aimedAt, "not measured"];
  if (met === undefined) return [aimedAt, ""];
  return [aimedAt, met ? "met" : "MISSED"];
}

export function reportText(made: Report): string {
  const { machine, host } = made;
  const goals = made.targets.map((target) => [
    target.name,
    number(target.measured),
    ...aim(target),
    target.withoutStarts === undefined
      ? ""
      : `${number(target.withoutStarts)} (${target.processes ?? 0} processes)`,
  ]);
  const figures = Object.entries(made.summaries).map(([name, summary]) => [
    name,
    summary.unit,
    String(summary.runs),
    number(summary.median),
    `${number(summary.low)} to ${number(summary.high)}`,
    number(summary.least),
  ]);
  return [
    `kernel ${machine.kernel} (${machine.lab}, ${machine.cpus} CPU, ${machine.memoryMiB} MiB), Node ${machine.node}, on ${host.cpus} x ${host.cpu}, load ${host.load.toFixed(1)}, seed ${made.seed}`,
    "",
    table(["ratio", "measured", "target", "", "without process starts"], goals),
    "",
    table(["series", "unit", "runs", "median", "half of them", "least"], figures),
    ...(made.notes.length === 0 ? [] : ["", ...made.notes.map((note) => `note: ${note}`)]),
    "",
  ].join("\n");
}

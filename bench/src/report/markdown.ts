/** The result as the part of docs/BENCHMARKS.md that a run writes. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Report } from "./report.ts";
import { aim, number } from "./text.ts";

const BEGIN = "<!-- figures: written by ./run bench --update-docs -->";
const END = "<!-- end of figures -->";
/** Beside the page. */
export const PLOTS_FOLDER = "benchmarks";

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  return [row(head), row(head.map(() => "---")), ...rows.map(row)];
}

/** Everything between the two marks. */
export function figures(made: Report, plots: readonly string[]): string {
  const { machine, host } = made;
  const date = made.measuredAt.slice(0, 16).replace("T", " ");
  const goals = made.targets.map((target) => [
    `\`${target.name}\`: ${target.what}`,
    number(target.measured),
    ...aim(target),
    target.withoutStarts === undefined
      ? ""
      : `${number(target.withoutStarts)} (${target.processes ?? 0})`,
  ]);
  const rows = Object.entries(made.summaries).map(([name, summary]) => [
    `\`${name}\``,
    summary.unit,
    String(summary.runs),
    number(summary.median),
    `${number(summary.low)} to ${number(summary.high)}`,
    number(summary.least),
  ]);
  return [
    BEGIN,
    "",
    `Measured ${date} UTC${made.quick ? " with `--quick`" : ""}, seed ${made.seed}: kernel ${machine.kernel} (${machine.lab}, ${machine.cpus} CPU, ${machine.memoryMiB} MiB), Node ${machine.node}, on ${host.cpus} x ${host.cpu}, whose load was ${host.load.toFixed(1)} at the end.`,
    "",
    ...table(["ratio", "measured", "target", "", "without process starts (how many)"], goals),
    "",
    ...plots.map((plot) => `![${plot.replace(".svg", "")}](${PLOTS_FOLDER}/${plot})`),
    "",
    ...table(["series", "unit", "runs", "median", "half of them", "least"], rows),
    ...made.notes.map((note) => `\n- ${note}`),
    "",
    END,
  ].join("\n");
}

/** Replaces what is between the marks of the page; throws where it has none. */
export function updatePage(path: string, made: Report, plots: readonly string[]): void {
  const text = readFileSync(path, "utf8");
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${path} has no place for the figures`);
  writeFileSync(path, text.slice(0, begin) + figures(made, plots) + text.slice(end + END.length));
}

/** Which plots there are, and from which series. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Report } from "./report.ts";
import { type Bar, barPlot, type Line, linePlot } from "./svg.ts";

const LABELS: Readonly<Record<string, string>> = {
  engine: "thinpool, engine",
  daemon: "thinpool, daemon",
  c: "C, bare ioctls",
  dmsetup: "dmsetup processes",
  lvm: "lvcreate -s",
  containerd: "containerd devmapper",
};
const OURS = new Set(["engine", "daemon", "clone"]);

/** All series `section/who`, fastest first. */
function bars(made: Report, section: string): readonly Bar[] {
  return Object.entries(made.summaries)
    .filter(([name]) => name.startsWith(`${section}/`))
    .map(([name, { median, low, high }]) => {
      const who = name.slice(section.length + 1);
      return { label: LABELS[who] ?? who, value: median, low, high, ours: OURS.has(who) };
    })
    .toSorted((a, b) => a.value - b.value);
}

/** All series `section/NUMBER`, as points. */
function line(made: Report, section: string, label: string): Line {
  const points = Object.entries(made.summaries)
    .filter(([name]) => name.startsWith(`${section}/`))
    .map(([name, { median }]) => ({ x: Number(name.slice(section.length + 1)), y: median }))
    .toSorted((a, b) => a.x - b.x);
  return { label, points };
}

/** Writes those that this run has figures for; their names. */
export function writePlots(folder: string, made: Report): readonly string[] {
  mkdirSync(folder, { recursive: true });
  const written: string[] = [];
  const write = (name: string, text: string): void => {
    writeFileSync(join(folder, name), text);
    written.push(name);
  };
  const barPlots: Readonly<Record<string, string>> = {
    "snapshot-activate": "Snapshot and activation",
    remove: "Removal",
    "workspace-ready": "A private writable tree",
    "database-ready-scale-1": "A private database of 15 MB",
    "database-ready-scale-10": "A private database of 150 MB",
  };
  for (const [section, title] of Object.entries(barPlots)) {
    const found = bars(made, section);
    if (found.length > 0) write(`${section}.svg`, barPlot(title, "ms", found));
  }
  const linePlots = [
    {
      name: "growth.svg",
      title: "Time of an operation by number of devices",
      unit: "ms",
      lines: [
        line(made, "growth-snapshot-activate", "snapshot, activate"),
        line(made, "growth-remove", "removal"),
        line(made, "growth-list", "listing"),
        line(made, "growth-open", "opening"),
      ],
    },
    {
      name: "throughput.svg",
      title: "Clones a second by requests at a time",
      unit: "per s",
      lines: [line(made, "throughput", "through the daemon")],
    },
  ];
  for (const { name, title, unit, lines } of linePlots) {
    const drawn = lines.filter(({ points }) => points.length > 1);
    if (drawn.length > 0) write(name, linePlot(title, unit, drawn));
  }
  return written;
}

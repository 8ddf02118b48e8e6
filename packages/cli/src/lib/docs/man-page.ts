/** thinpool(1), in roff: the man(7) macros. */
import { type CommandEntry, usageOf } from "./entries.ts";

/** man(7): a leading dot or quote is a request, a backslash an escape, and "-" alone may be typeset. */
function escape(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^([.'])/gm, "\\&$1");
}

const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [0, "Done."],
  [1, "Failed."],
  [2, "Usage: an unknown command or flag, a bad size or name."],
  [3, "Not found: no such device, pool or mount."],
  [4, "Refused by policy, or a capability is missing."],
  [5, "Busy: mounted, open, or held by another process."],
  [6, "No space."],
  [7, "The daemon is not reachable."],
  [8, "The pool needs repair."],
];

export function renderManPage(entries: readonly CommandEntry[], version: string): string {
  const lines = [
    `.TH THINPOOL 1 "" "thinpool ${escape(version)}" "User Commands"`,
    ".SH NAME",
    "thinpool \\- copy\\-on\\-write disks",
    ".SH SYNOPSIS",
    ".B thinpool",
    ".I COMMAND",
    "[\\fIARGUMENT\\fR ...] [\\fIFLAGS\\fR]",
    ".SH DESCRIPTION",
    escape(
      "An admin makes one thin pool and serves it; any user then clones its images in milliseconds and has each clone mounted, private and writable. Data goes to stdout, all else to stderr.",
    ),
    ".SH COMMANDS",
  ];
  for (const entry of entries) {
    lines.push(`.SS "${escape(usageOf(entry))}"`, escape(entry.summary));
    if (entry.description !== "") lines.push(".PP", escape(entry.description));
    for (const { label, description } of entry.args) {
      lines.push(".TP", `.I ${escape(label)}`, escape(description));
    }
    for (const { usage, summary } of entry.flags) {
      lines.push(".TP", `.B ${escape(usage)}`, escape(summary));
    }
    if (entry.examples.length > 0) {
      lines.push(".PP", ".nf", ...entry.examples.map(escape), ".fi");
    }
  }
  lines.push(".SH EXIT STATUS");
  for (const [code, meaning] of EXIT_CODES) lines.push(".TP", `.B ${code}`, escape(meaning));
  lines.push(
    ".SH ENVIRONMENT",
    ".TP",
    ".B THINPOOL_SOCKET",
    escape("The daemon's socket, where --socket is not given."),
    ".TP",
    ".B THINPOOL_FOLDER",
    escape("The pool's folder, where --folder is not given."),
    ".TP",
    ".B NO_COLOR",
    "Where it is set, nothing is coloured.",
  );
  return `${lines.join("\n")}\n`;
}

/** /proc/PID/mountinfo, parsed: proc_pid_mountinfo(5), fs/proc_namespace.c. */
import { NativeError } from "../errors.ts";
import type { MountInfo } from "./mounts.ts";

/** The fields before the optional ones, and those after the lone hyphen. */
const FIELDS_BEFORE = 6;
const FIELDS_AFTER = 3;

/**
 * The kernel writes space, tab, newline, backslash and # inside a field as a backslash and three
 * octal digits. Bytes of a path that are no UTF-8 are lost when the file is read as text.
 */
function unescape(field: string): string {
  return field.replace(/\\([0-3][0-7]{2})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

function refuse(line: string, reason: string): never {
  throw new NativeError({
    code: "NATIVE_PARSE",
    operation: "reading of mountinfo",
    object: JSON.stringify(line),
    reason,
    hint: "Report this line: it has another form than proc_pid_mountinfo(5) says.",
  });
}

function wholeNumber(line: string, what: string, field: string): number {
  if (!/^\d+$/.test(field)) refuse(line, `the ${what} is ${JSON.stringify(field)}, no number`);
  return Number(field);
}

export function parseMountInfoLine(line: string): MountInfo {
  const fields = line.split(" ");
  // Optional fields are "tag" or "tag:value", so the first lone hyphen after the sixth ends them.
  const hyphen = fields.indexOf("-", FIELDS_BEFORE);
  if (hyphen === -1) refuse(line, "it has no separator '-'");
  const [mountId = "", parentId = "", dev = "", root = "", mountPoint = "", options = ""] = fields;
  const after = fields.slice(hyphen + 1);
  if (after.length < FIELDS_AFTER) {
    refuse(line, `it has ${after.length} fields after '-', ${FIELDS_AFTER} were expected`);
  }
  const [type = "", source = ""] = after;
  const numbers = /^(\d+):(\d+)$/.exec(dev);
  if (numbers === null) refuse(line, `the device is ${JSON.stringify(dev)}, not MAJOR:MINOR`);
  return {
    mountId: wholeNumber(line, "mount id", mountId),
    parentId: wholeNumber(line, "parent id", parentId),
    dev: { major: Number(numbers[1]), minor: Number(numbers[2]) },
    root: unescape(root),
    mountPoint: unescape(mountPoint),
    options: options.split(","),
    optionalFields: fields.slice(FIELDS_BEFORE, hyphen),
    type: unescape(type),
    source: unescape(source),
    // A filesystem that writes an unescaped space into its options makes more than three fields.
    superOptions: after
      .slice(FIELDS_AFTER - 1)
      .join(" ")
      .split(","),
  };
}

/** All mounts, in the kernel's order: a mount stands after what it was mounted upon. */
export function parseMountInfo(text: string): readonly MountInfo[] {
  return text
    .split("\n")
    .filter((line) => line.length > 0)
    .map(parseMountInfoLine);
}

/**
 * The mount that a path shows: of several at the same mount point the topmost, which is the one
 * whose parent is another of them; undefined where none is at exactly this path.
 */
export function topmostAt(mounts: readonly MountInfo[], path: string): MountInfo | undefined {
  const here = mounts.filter((mount) => mount.mountPoint === path);
  const covered = new Set(here.map((mount) => mount.parentId));
  return here.findLast((mount) => !covered.has(mount.mountId)) ?? here.at(-1);
}

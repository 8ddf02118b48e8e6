/** Giving all privileges up, and the proof of it from the kernel's own words, thread by thread. */
import { readFileSync, readdirSync } from "node:fs";

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The ids of this process and of all its threads (the C library sets them in each), no supplementary
 * groups. With the last id 0 the capabilities go; the launcher has emptied the bounding set and set
 * no_new_privs before. The kernel makes such a process undumpable: others of its uid can't trace it.
 */
export function dropPrivileges({ uid, gid }: Identity): void {
  process.setgroups?.([]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

const CAPABILITY_SETS = ["CapPrm", "CapEff", "CapBnd", "CapAmb"] as const;

/** What a thread's status says against it; undefined: it has no privileges and is who it should be. */
export function privilegeIn(status: string, { uid, gid }: Identity): string | undefined {
  const fields = new Map<string, string>();
  for (const line of status.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const expected: readonly (readonly [string, string])[] = [
    ["Uid", Array.from({ length: 4 }, () => uid).join("\t")],
    ["Gid", Array.from({ length: 4 }, () => gid).join("\t")],
    ["Groups", ""],
    ["NoNewPrivs", "1"],
    ...CAPABILITY_SETS.map((name) => [name, "0".repeat(16)] as const),
  ];
  for (const [name, value] of expected) {
    const found = fields.get(name);
    if (found !== value) return `${name} is ${JSON.stringify(found)}, not ${JSON.stringify(value)}`;
  }
  return undefined;
}

/** Throws unless every thread of the process has no privileges. `process` is a pid or "self". */
export function assertUnprivileged(process: number | "self", identity: Identity): void {
  const tasks = `/proc/${process}/task`;
  for (const thread of readdirSync(tasks)) {
    const found = privilegeIn(readFileSync(`${tasks}/${thread}/status`, "utf8"), identity);
    if (found !== undefined) throw new Error(`thread ${thread} of the worker: ${found}`);
  }
}

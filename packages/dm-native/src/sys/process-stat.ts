/** What the kernel says of a process in /proc/PID/stat: proc_pid_stat(5). */
import { readFileSync } from "node:fs";

/** The fields behind the command, the process's state the first of them; undefined where it is no more. */
export function processStat(pid: number): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command may hold spaces and parentheses.
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

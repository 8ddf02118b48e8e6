import { runProgram } from "./commands.ts";

let updated = false;

/** Once per process: a second time tells nothing new. */
export function updateLists(say: (line: string) => void): void {
  if (updated) return;
  say("updating the list of Debian packages");
  runProgram("apt-get", ["-qq", "-o", "DPkg::Lock::Timeout=300", "update"]);
  updated = true;
}

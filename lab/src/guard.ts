import { spawn } from "node:child_process";
import { once } from "node:events";

/**
 * Ends process groups, detaches loop devices and removes folders, whatever becomes of this process: a small
 * shell in a session of its own that acts when its stdin closes, so after SIGKILL of the lab as well.
 */
export class Guard {
  readonly #process;
  readonly #exited: Promise<unknown>;

  /** Starts guarding the folders. */
  constructor(folders: readonly string[]) {
    this.#process = spawn("/bin/sh", ["-c", guardScript, "thinpool-lab-guard", ...folders], {
      detached: true,
      cwd: "/",
      stdio: ["pipe", "ignore", "ignore"],
    });
    // Kept from now on: the exit may come before anyone waits. An error is reported by `end`.
    this.#exited = once(this.#process, "exit");
    this.#exited.catch(() => undefined);
  }

  /** From now on the process group is ended too. */
  watch(group: number): void {
    this.#process.stdin.write(`group ${group}\n`);
  }

  /** From now on the loop device is detached too, after the groups have ended. */
  watchLoop(path: string): void {
    this.#process.stdin.write(`loop ${path}\n`);
  }

  /** Ends what is left of the groups, detaches, removes the folders, and returns when all are gone. */
  async end(): Promise<void> {
    this.#process.stdin.end();
    await this.#exited;
  }
}

/**
 * A killed process whose parent is gone stays as a zombie until the machine's first process takes
 * note of it; in some containers it never does. So the wait is bounded: 40 times 50 ms.
 * `kill -s`: dash takes no `--` after `kill -KILL`.
 */
const guardScript = `
groups= loops= PATH=$PATH:/usr/sbin:/sbin
while read -r kind what; do
  case $kind in group) groups="$groups $what" ;; loop) loops="$loops $what" ;; esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
for group in $groups; do
  n=0
  while [ $n -lt 40 ] && kill -s 0 -- "-$group" 2>/dev/null; do sleep 0.05; n=$((n+1)); done
done
for loop in $loops; do losetup --detach "$loop"; done
rm -rf -- "$@"
`;

/** SIGKILL to a whole process group; a group that is already gone is no error. */
export function killGroup(group: number): void {
  try {
    process.kill(-group, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

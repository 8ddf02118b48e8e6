/**
 * In the lab's guest: the tools of the pool's metadata, started by a small shell that waits for work.
 * Node starts a program by a copy of its own address space, which takes User Mode Linux 0.1 s each time.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Writable } from "node:stream";
import { type Kernel, LinuxMetadataTools } from "@thinpool/thinpool";

/** Ends what one command printed; its exit code follows. */
const END = "@end";
const SERVE = `while read -r command; do eval "$command" 2>&1; echo "${END} $?"; done`;

export interface ToolEnd {
  readonly code: number;
  /** stdout and stderr. */
  readonly printed: string;
}

/** Runs one command after another. */
export class ToolShell implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #input: Writable;
  readonly #lines: AsyncIterator<string>;
  #last: Promise<unknown> = Promise.resolve();

  constructor() {
    const child = spawn("/bin/sh", ["-c", SERVE], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { PATH: "/usr/sbin:/usr/bin" },
    });
    this.#process = child;
    this.#input = child.stdin;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** `command` is one line of sh. */
  run(command: string): Promise<ToolEnd> {
    const ran = this.#last.then(() => this.#run(command));
    this.#last = ran.catch(() => undefined);
    return ran;
  }

  async #run(command: string): Promise<ToolEnd> {
    this.#input.write(`${command}\n`);
    const printed: string[] = [];
    for (;;) {
      const { value: line, done } = await this.#lines.next();
      if (done === true) throw new Error(`the shell ended at '${command}': ${printed.join("\n")}`);
      if (line.startsWith(`${END} `)) {
        return { code: Number(line.slice(END.length + 1)), printed: printed.join("\n") };
      }
      printed.push(line);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, "close");
    this.#input.end();
    await ended;
  }
}

export function quote(path: string): string {
  return `'${path.replaceAll("'", String.raw`'\''`)}'`;
}

class ShellTools extends LinuxMetadataTools {
  readonly #shell: ToolShell;

  constructor(shell: ToolShell) {
    super();
    this.#shell = shell;
  }

  /** As an opening asks for it after a cut; thin_check says the same, it is only started in less time. */
  override async check(options: Parameters<LinuxMetadataTools["check"]>[0]) {
    if (options.snapshot === true || options.clearNeedsCheck === true) return super.check(options);
    const { code, printed } = await this.#shell.run(`thin_check ${quote(options.path)}`);
    return { outcome: code === 0 ? "clean" : "damaged", report: printed } as const;
  }
}

export function withShell(kernel: Kernel, shell: ToolShell): Kernel {
  return { ...kernel, metadataTools: new ShellTools(shell) };
}

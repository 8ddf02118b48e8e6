/** Drives user.ts, a process of uid 1000. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { GROUP } from "./thinpoold.ts";

export type UserCommand =
  | { readonly call: "clone" | "ready"; readonly origin: string; readonly name: string }
  | { readonly call: "remove" | "get"; readonly name: string }
  | {
      readonly call: "many";
      readonly origin: string;
      readonly prefix: string;
      readonly count: number;
      readonly atATime: number;
    };

const USER = new URL("user.ts", import.meta.url).pathname;
const FLAGS = ["--disable-warning=ExperimentalWarning"];
export const USER_UID = 1000;
/** The daemon takes 64 requests of one connection at a time. */
export const CONNECTIONS = 4;

export class UserProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    if (child.stdout === null) throw new Error("no pipe");
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async start(socketPath: string, connections: number): Promise<UserProcess> {
    const args = [...FLAGS, USER, `${USER_UID}`, `${GROUP.gid}`, socketPath, `${connections}`];
    const user = new UserProcess(
      spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] }),
    );
    await user.#answer();
    return user;
  }

  /** Milliseconds, as the user's own clock has them. */
  async run(command: UserCommand): Promise<readonly number[]> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
    return this.#answer();
  }

  async #answer(): Promise<readonly number[]> {
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("the user's program ended");
    return JSON.parse(value) as readonly number[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.stdin?.end();
    await exited;
  }
}

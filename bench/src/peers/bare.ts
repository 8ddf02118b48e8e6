/** The C program bare.c: compiled in the run, driven line by line. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";

/** Of what was said before a failure. */
const MAX_LOG_CHARS = 2_000;
const SOURCE = new URL("bare.c", import.meta.url).pathname;

export class Bare implements Disposable {
  readonly #child: ChildProcess;
  readonly #lines: Interface;
  readonly #answers: AsyncIterator<string>;

  /** What it and the programs that it starts say; lvm2 warns at each change. */
  readonly #log: string;

  private constructor(child: ChildProcess, log: string) {
    if (child.stdout === null) throw new Error("no pipe");
    this.#child = child;
    this.#log = log;
    this.#lines = createInterface({ input: child.stdout });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** Compiles it into `folder` and starts it. */
  static start(folder: string): Bare {
    const program = `${folder}/bare`;
    execFileSync("gcc", ["-O2", "-o", program, SOURCE]);
    const log = `${program}.log`;
    return new Bare(spawn(program, { stdio: ["pipe", "pipe", openSync(log, "a")] }), log);
  }

  /** Nanoseconds of each step, as the program's own clock has them. */
  async #send(...words: readonly string[]): Promise<readonly number[]> {
    this.#child.stdin?.write(`${words.join("\t")}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("bare ended");
    if (value.startsWith("error")) {
      throw new Error(`bare: ${value}\n${readFileSync(this.#log, "utf8").slice(-MAX_LOG_CHARS)}`);
    }
    return value.trim().split(" ").map(Number);
  }

  snap(of: {
    readonly poolUuid: string;
    readonly originId: number;
    readonly id: number;
    readonly transactionId: bigint;
    readonly poolDev: string;
    readonly sectors: bigint;
    readonly name: string;
    readonly uuid: string;
  }): Promise<readonly number[]> {
    const { poolUuid, originId, id, transactionId, poolDev, sectors, name, uuid } = of;
    return this.#send(
      ...["snap", poolUuid, `${originId}`, `${id}`, `${transactionId}`, poolDev, `${sectors}`],
      ...[name, uuid],
    );
  }

  drop(of: {
    readonly poolUuid: string;
    readonly id: number;
    readonly transactionId: bigint;
    readonly uuid: string;
  }): Promise<readonly number[]> {
    return this.#send("drop", of.poolUuid, `${of.id}`, `${of.transactionId}`, of.uuid);
  }

  /** Milliseconds of a durable record of a snapshot, in a log of that path. */
  async commit(path: string): Promise<number> {
    const [nanoseconds = 0] = await this.#send("commit", path);
    return nanoseconds / 1e6;
  }

  /** Milliseconds from vfork to the end of the program, which must succeed. */
  async spawn(program: string, ...args: readonly string[]): Promise<number> {
    const [nanoseconds = 0] = await this.#send("spawn", program, ...args);
    return nanoseconds / 1e6;
  }

  [Symbol.dispose](): void {
    this.#lines.close();
    this.#child.stdin?.end();
  }
}

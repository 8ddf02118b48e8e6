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
    execFileSync("gcc", ["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", program, SOURCE]);
    const log = `${program}.log`;
    return new Bare(spawn(program, { stdio: ["pipe", "pipe", openSync(log, "a")] }), log);
  }

  /** Milliseconds, by the program's own clock. */
  async #send(...words: readonly string[]): Promise<number> {
    this.#child.stdin?.write(`${words.join("\t")}\n`);
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error("bare ended");
    if (value.startsWith("error")) {
      throw new Error(`bare: ${value}\n${readFileSync(this.#log, "utf8").slice(-MAX_LOG_CHARS)}`);
    }
    return Number(value) / 1e6;
  }

  /** Milliseconds. `recordIn`: by a program that keeps a durable record, in this file, and holds no event loop. */
  snap(of: {
    readonly poolUuid: string;
    readonly originId: number;
    readonly id: number;
    readonly transactionId: bigint;
    readonly poolDev: string;
    readonly sectors: bigint;
    readonly name: string;
    readonly uuid: string;
    readonly recordIn?: string | undefined;
  }): Promise<number> {
    const { poolUuid, originId, id, transactionId, poolDev, sectors, name, uuid, recordIn } = of;
    return this.#send(
      ...[recordIn === undefined ? "snap" : "keep", poolUuid, `${originId}`, `${id}`],
      ...[`${transactionId}`, poolDev, `${sectors}`, name, uuid],
      ...(recordIn === undefined ? [] : [recordIn]),
    );
  }

  /** Milliseconds. */
  drop(of: {
    readonly poolUuid: string;
    readonly id: number;
    readonly transactionId: bigint;
    readonly uuid: string;
  }): Promise<number> {
    return this.#send("drop", of.poolUuid, `${of.id}`, `${of.transactionId}`, of.uuid);
  }

  /** Milliseconds from vfork to the end of the program, which must succeed. */
  spawn(program: string, ...args: readonly string[]): Promise<number> {
    return this.#send("spawn", program, ...args);
  }

  [Symbol.dispose](): void {
    this.#lines.close();
    this.#child.stdin?.end();
  }
}

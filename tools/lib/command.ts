/** One command of `./run`. */
export interface RunCommand {
  /** One line for the list. */
  readonly summary: string;
  /** Gets the words after the command's name, gives the exit code. */
  run(args: readonly string[]): Promise<number>;
}

/** The repository's root. */
export const ROOT: string = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

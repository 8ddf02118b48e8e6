/** What the commands about the service have in common. */
import { Flags } from "@oclif/core";
import { CommandError } from "./errors.ts";
import { parsePath } from "./path.ts";

export const rootFlag = Flags.string({
  summary:
    "The files of a machine whose root is here, an image's say; its systemd is told nothing.",
  default: "/",
  helpValue: "FOLDER",
  parse: async (path) => parsePath(path),
});

/** What the machine's files need: NOT_ROOT where the kernel lets the caller write none of them. */
export async function withMachineFiles<Result>(
  operation: string,
  root: string,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "EACCES" && code !== "EPERM") throw error;
    throw new CommandError({
      code: "NOT_ROOT",
      operation,
      object: root,
      reason: error instanceof Error ? error.message : String(error),
      hint: "Run it as root.",
      cause: error,
    });
  }
}

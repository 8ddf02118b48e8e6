import type { RunCommand } from "../lib/command.ts";
import { execProgram } from "../lib/exec-program.ts";

export function execLab(script: "main" | "doctor", args: readonly string[]): Promise<number> {
  return execProgram(`lab/src/${script}.ts`, args);
}

export const lab: RunCommand = {
  summary: "run a command in a real kernel with dm-thin: ./run lab [--kernel uml|qemu] -- COMMAND",
  run: (args) => execLab("main", args),
};

/** A soak's command line: what is wrong with it is told in one line. */
import { parseArgs, type ParseArgsOptionsConfig } from "node:util";

const USAGE_EXIT_CODE = 2;

function refuse(reason: string): never {
  process.stderr.write(`soak: ${reason}\n`);
  process.exit(USAGE_EXIT_CODE);
}

type Values<Options extends ParseArgsOptionsConfig> = ReturnType<
  typeof parseArgs<{ options: Options }>
>["values"];

export function soakOptions<const Options extends ParseArgsOptionsConfig>(
  options: Options,
): Values<Options> {
  try {
    return parseArgs<{ options: Options }>({ options }).values;
  } catch (error) {
    refuse(error instanceof Error ? error.message : String(error));
  }
}

export function wholeNumber(text: string, option: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  refuse(`--${option} '${text}' is no whole number`);
}

/** What may come next on the command line; pure, but for the live names that it is given. */
import type { CommandEntry } from "../docs/entries.ts";

/** Names that only the daemon knows. They are asked for only where they are wanted. */
export interface LiveNames {
  devices(): Promise<readonly string[]>;
  images(): Promise<readonly string[]>;
  references(): Promise<readonly string[]>;
  tokens(): Promise<readonly string[]>;
  errorCodes(): readonly string[];
}

/** Which names an argument takes: the convention of lib/args.ts. */
const LIVE_ARGUMENTS: Readonly<Record<string, readonly (keyof LiveNames)[]>> = {
  device: ["devices"],
  origin: ["devices"],
  older: ["devices"],
  more: ["devices"],
  snapshot: ["devices"],
  image: ["images"],
  what: ["devices", "references"],
  token: ["tokens"],
  code: ["errorCodes"],
};

/**
 * `words` are those after `thinpool` and before the cursor's; `current` is the one being typed. The
 * candidates begin with it and are sorted.
 */
export async function candidates(
  entries: readonly CommandEntry[],
  words: readonly string[],
  current: string,
  live: LiveNames,
): Promise<readonly string[]> {
  const fitting = (all: Iterable<string>): readonly string[] =>
    [...new Set(all)].filter((word) => word.startsWith(current)).toSorted();
  const entry = entries.find(({ path }) => path.every((word, at) => words[at] === word));
  if (entry === undefined) {
    const below = entries.filter(({ path }) => words.every((word, at) => path[at] === word));
    return fitting(below.map(({ path }) => path[words.length] ?? ""));
  }
  const rest = words.slice(entry.path.length);
  const pending = entry.flags.find(
    ({ name, takesValue }) => takesValue && rest.at(-1) === `--${name}`,
  );
  // The value of a flag: one of its options, or something that nobody but the user knows.
  if (pending !== undefined) return fitting(pending.options);
  if (current.startsWith("-")) return fitting(entry.flags.map(({ name }) => `--${name}`));
  const last = entry.args.at(-1);
  const arg =
    entry.args[countArguments(entry, rest)] ?? (last?.multiple === true ? last : undefined);
  if (arg === undefined) return [];
  if (arg.options.length > 0) return fitting(arg.options);
  const kinds = LIVE_ARGUMENTS[arg.name] ?? [];
  const names = await Promise.all(kinds.map(async (kind) => await live[kind]()));
  return fitting(names.flat());
}

/** How many of the words are arguments, neither flags nor their values. */
function countArguments(entry: CommandEntry, words: readonly string[]): number {
  let count = 0;
  let isValue = false;
  for (const word of words) {
    if (isValue) isValue = false;
    else if (word.startsWith("-")) {
      isValue = entry.flags.some(({ name, takesValue }) => takesValue && word === `--${name}`);
    } else count += 1;
  }
  return count;
}

/** The commands as data: what the man page, the reference and completion are made from. */
import type { Command } from "@oclif/core";

export interface FlagEntry {
  /** "--socket PATH", "-y, --yes". */
  readonly usage: string;
  readonly name: string;
  readonly summary: string;
  readonly options: readonly string[];
  readonly takesValue: boolean;
}

export interface ArgEntry {
  readonly name: string;
  /** What the usage shows: its name in capitals unless the command says otherwise. */
  readonly label: string;
  readonly description: string;
  readonly required: boolean;
  /** What it can be; empty where that is open. */
  readonly options: readonly string[];
  /** It takes all words that are left. */
  readonly multiple: boolean;
}

export interface CommandEntry {
  /** The words after `thinpool`. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly description: string;
  readonly args: readonly ArgEntry[];
  readonly flags: readonly FlagEntry[];
  readonly examples: readonly string[];
}

const BIN = "thinpool";

export function entriesOf(commands: Readonly<Record<string, Command.Class>>): CommandEntry[] {
  return Object.entries(commands)
    .filter(([, command]) => !command.hidden)
    .map(([id, command]) => entryOf(id, command))
    .toSorted((a, b) => (a.path.join(" ") < b.path.join(" ") ? -1 : 1));
}

function entryOf(id: string, command: Command.Class): CommandEntry {
  const path = id.split(":");
  const flags = { ...command.baseFlags, ...command.flags };
  return {
    path,
    summary: command.summary ?? "",
    description: command.description ?? "",
    args: Object.entries(command.args).map(([name, arg]) => ({
      name,
      label: arg.name === undefined || arg.name === name ? name.toUpperCase() : arg.name,
      description: arg.description ?? "",
      required: arg.required === true,
      options: arg.options ?? [],
      multiple: arg.multiple === true,
    })),
    flags: [
      ...Object.entries(flags).map(([name, flag]) => flagOf(name, flag)),
      ...(command.enableJsonFlag ? [JSON_FLAG] : []),
    ].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    examples: (command.examples ?? []).map((example) => exampleText(example, path)),
  };
}

/** oclif adds it by itself to every command that has it enabled. */
const JSON_FLAG: FlagEntry = {
  usage: "--json",
  name: "json",
  summary: "Print one JSON document instead of text.",
  options: [],
  takesValue: false,
};

function flagOf(name: string, flag: Command.Flag.Any): FlagEntry {
  const options = "options" in flag && flag.options !== undefined ? flag.options : [];
  const takesValue = flag.type === "option";
  const helpValue = "helpValue" in flag ? flag.helpValue : undefined;
  const value = typeof helpValue === "string" ? helpValue : options.join("|") || "VALUE";
  const short = flag.char === undefined ? "" : `-${flag.char}, `;
  return {
    usage: `${short}--${name}${takesValue ? ` ${value}` : ""}`,
    name,
    summary: flag.summary ?? flag.description ?? "",
    options,
    takesValue,
  };
}

function exampleText(example: Command.Example, path: readonly string[]): string {
  const text = typeof example === "string" ? example : example.command;
  return text.replaceAll("<%= config.bin %>", BIN).replaceAll("<%= command.id %>", path.join(" "));
}

/** "thinpool device create NAME [--size SIZE]": the arguments, then the word for the flags. */
export function usageOf(entry: CommandEntry): string {
  const args = entry.args.map(({ label, required, multiple }) => {
    const words = multiple ? `${label} ...` : label;
    return required ? words : `[${words}]`;
  });
  return [BIN, ...entry.path, ...args, "[FLAGS]"].join(" ");
}

/**
 * The single place that turns whatever was thrown into what the user sees and the exit code.
 * Errors of the engine, the kernel's bindings and the SDK are told by their fields, not by their
 * classes: so nothing of them has to be loaded to print one.
 */
import { styleText } from "node:util";
import { exitCodeOf } from "./exit-codes.ts";
import type { CommandErrorCode, ExitCode } from "./exit-codes.ts";

/** A mistake in how the command was called. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "USAGE";
  readonly reason: string;
  readonly hint: string;

  constructor({ reason, hint }: { readonly reason: string; readonly hint: string }) {
    super(`${reason}. ${hint}`);
    this.reason = reason;
    this.hint = hint;
  }
}

/** What a command itself finds to be in its way; the exit code follows from `code`. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: CommandErrorCode;
  readonly operation: string;
  readonly object: string;
  readonly reason: string;
  readonly hint: string;

  constructor(init: {
    readonly code: CommandErrorCode;
    readonly operation: string;
    readonly object: string;
    readonly reason: string;
    readonly hint: string;
    readonly cause?: unknown;
  }) {
    super(`${init.operation} of ${init.object}: ${init.reason}. ${init.hint}`, {
      cause: init.cause,
    });
    this.code = init.code;
    this.operation = init.operation;
    this.object = init.object;
    this.reason = init.reason;
    this.hint = init.hint;
  }
}

/** What `--json` prints as `error`. */
export interface Failure {
  /** Stable, to match on; "INTERNAL" for what nobody foresaw. */
  readonly code: string;
  readonly exitCode: ExitCode;
  /** One line: what is wrong. */
  readonly message: string;
  /** One line: what to do. */
  readonly hint: string;
  readonly operation?: string;
  readonly object?: string;
  readonly errnoName?: string;
}

const CONTROL_CHARACTERS = /\p{Cc}+/gu;

/** Text from anywhere as one line without the terminal's control sequences. */
function oneLine(text: string): string {
  return text.replace(CONTROL_CHARACTERS, " ").replaceAll(/ {2,}/g, " ").trim();
}

function textField(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = fields[name];
  return typeof value === "string" && value !== "" ? oneLine(value) : undefined;
}

/** oclif's parser throws errors that carry what it was parsing, with a message of several lines. */
function ofParser(thrown: Error): Failure {
  const said = (thrown.message.split(/\n+See more help/)[0] ?? "")
    .replace(/^The following errors? occurred:\s*/, "")
    .replace(/^Parsing (--\S+)\s+/, "$1: ");
  const message = missingArguments(thrown) ?? said.split(/\n\s*/).join("; ");
  return {
    code: "USAGE",
    exitCode: exitCodeOf("USAGE"),
    message: withoutDot(oneLine(message)),
    hint: "Run it with --help to see how it is called.",
  };
}

/** By what they are: oclif's own message has a table of them, whose names are not those of the usage. */
function missingArguments(thrown: Error): string | undefined {
  if (!thrown.message.startsWith("Missing ") || !("args" in thrown)) return undefined;
  const missing = (thrown.args as readonly { readonly description?: string }[]).map(
    ({ description = "" }) => withoutDot(description),
  );
  return `missing argument${missing.length === 1 ? "" : "s"}: ${missing.join("; ")}`;
}

function withoutDot(sentence: string): string {
  return sentence.replace(/\.$/, "");
}

export function failureOf(thrown: unknown): Failure {
  if (!(thrown instanceof Error)) return internal(String(thrown));
  if ("oclif" in thrown) return ofParser(thrown);
  const fields = thrown as unknown as Readonly<Record<string, unknown>>;
  const code = textField(fields, "code");
  const hint = textField(fields, "hint");
  if (code === undefined || hint === undefined) return internal(thrown.message);

  const operation = textField(fields, "operation");
  const object = textField(fields, "object");
  const errnoName = textField(fields, "errnoName");
  // An error of ours without the reason as a field has it in its message, with the hint at the end.
  const reason = textField(fields, "reason");
  const message =
    reason === undefined
      ? oneLine(thrown.message).replace(hint, "").trim()
      : `${operation === undefined ? "" : `${operation} of ${object ?? "it"}: `}${reason}${
          errnoName === undefined ? "" : ` (${errnoName})`
        }`;
  return {
    code,
    exitCode: exitCodeOf(code),
    message: withoutDot(message),
    hint,
    ...(operation === undefined ? {} : { operation }),
    ...(object === undefined ? {} : { object }),
    ...(errnoName === undefined ? {} : { errnoName }),
  };
}

function internal(message: string): Failure {
  return {
    code: "INTERNAL",
    exitCode: exitCodeOf("INTERNAL"),
    message: withoutDot(oneLine(message)),
    hint: "This was not foreseen: run it again with --verbose and report what it prints.",
  };
}

/** Two lines for stderr; coloured only on a terminal, and not where NO_COLOR is set. */
export function renderFailure({ message, hint }: Failure, stream: NodeJS.WriteStream): string {
  const label = styleText("red", "Error:", { stream });
  const end = message.endsWith("?") ? "" : ".";
  return `${label} ${message}${end}\n${styleText("dim", "Hint:", { stream })} ${hint}\n`;
}

/** Prints a failure the way the caller asked for, and sets the exit code. */
export function report(
  thrown: unknown,
  {
    json,
    verbose,
    lines = false,
    hints = {},
  }: {
    readonly json: boolean;
    readonly verbose: boolean;
    readonly lines?: boolean;
    /** In place of the failure's own, by its code. */
    readonly hints?: Readonly<Record<string, string>>;
  },
): void {
  const found = failureOf(thrown);
  const failure = { ...found, hint: hints[found.code] ?? found.hint };
  process.exitCode = failure.exitCode;
  const indent = lines ? undefined : 2;
  if (json) process.stdout.write(`${JSON.stringify({ error: failure }, undefined, indent)}\n`);
  else process.stderr.write(renderFailure(failure, process.stderr));
  if (verbose && thrown instanceof Error) process.stderr.write(`${stackOf(thrown)}\n`);
}

/** With the stacks of the causes, of which there are at most a few. */
function stackOf(error: Error): string {
  const stack = error.stack ?? error.message;
  return error.cause instanceof Error ? `${stack}\nCaused by: ${stackOf(error.cause)}` : stack;
}

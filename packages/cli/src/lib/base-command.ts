/** What all commands share: --json, --verbose, and one place for what goes wrong. */
import { Command, Flags } from "@oclif/core";
import { report } from "./errors.ts";
import { toJson } from "./json.ts";

export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;
  static override baseFlags = {
    verbose: Flags.boolean({
      summary: "On failure, print the stack too.",
      helpGroup: "GLOBAL",
    }),
  };

  /** Replaces oclif's own printing of errors; sets the exit code and lets the process end by itself. */
  override async catch(thrown: unknown): Promise<void> {
    report(thrown, { json: this.jsonEnabled(), verbose: this.argv.includes("--verbose") });
  }

  override logJson(json: unknown): void {
    process.stdout.write(`${toJson(json)}\n`);
  }
}

/** What all commands share: --json, --verbose, and one place for what goes wrong. */
import { Command, Flags } from "@oclif/core";
import { report } from "./errors.ts";
import { toJson } from "./json.ts";
import { type Plan, renderPlan } from "./plan.ts";

export abstract class BaseCommand extends Command {
  static override enableJsonFlag = true;
  static override baseFlags = {
    verbose: Flags.boolean({
      summary: "On failure, print the stack too.",
      helpGroup: "GLOBAL",
    }),
  };

  /** What to do, by an error's code, where a command knows that better than who threw it. */
  protected hints(): Readonly<Record<string, string>> {
    return {};
  }

  /** Replaces oclif's own printing of errors; sets the exit code and lets the process end by itself. */
  override async catch(thrown: unknown): Promise<void> {
    const verbose = this.argv.includes("--verbose");
    report(thrown, { json: this.jsonEnabled(), verbose, hints: this.hints() });
  }

  /** The end of a command that was asked only to say what it would do. */
  protected planned(...would: readonly string[]): Plan {
    const plan: Plan = { dryRun: true, would };
    this.log(renderPlan(plan));
    return plan;
  }

  override logJson(json: unknown): void {
    // A command that goes on has printed its own, line by line.
    if (json === undefined) return;
    process.stdout.write(`${toJson(json)}\n`);
  }
}

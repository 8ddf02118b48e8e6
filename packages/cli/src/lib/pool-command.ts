/** Commands that work on a pool itself, as root and with no daemon on it. */
import { BaseCommand } from "./base-command.ts";
import { UsageError } from "./errors.ts";
import { folderFlag } from "./flags.ts";

export abstract class PoolCommand extends BaseCommand {
  static override baseFlags = { ...BaseCommand.baseFlags, folder: folderFlag };

  protected override hints(): Readonly<Record<string, string>> {
    return {
      POOL_LOCKED:
        "This takes a closed pool: stop its daemon (`systemctl stop thinpoold`, or end `thinpool serve`), and run it again as root.",
    };
  }

  /** Unlike a question that only warns: where nobody is there to answer, --yes must have been said. */
  protected async confirmLoss(question: string, yes: boolean): Promise<void> {
    if (yes) return;
    const { confirm, someoneIsThere } = await import("./confirm.ts");
    if (this.jsonEnabled() || !someoneIsThere()) {
      throw new UsageError({
        reason: `nobody is there to be asked: ${question}`,
        hint: "Add --yes if that is what you want.",
      });
    }
    await confirm(question);
  }
}

/** Commands that work on a pool itself, as root and with no daemon on it. */
import type { Kernel, ThinPool } from "@thinpool/thinpool";
import { BaseCommand } from "./base-command.ts";
import { UsageError } from "./errors.ts";
import { folderFlag } from "./flags.ts";

export abstract class PoolCommand extends BaseCommand {
  static override baseFlags = { ...BaseCommand.baseFlags, folder: folderFlag };

  /** Tests put a simulated one in its place. */
  static openKernel: () => Promise<Kernel & AsyncDisposable> = async () => {
    const { linuxKernel } = await import("@thinpool/thinpool");
    return linuxKernel();
  };

  protected async withKernel<Result>(work: (kernel: Kernel) => Promise<Result>): Promise<Result> {
    await using kernel = await PoolCommand.openKernel();
    return await work(kernel);
  }

  /** Opens the pool, and takes it down again unless a device of it is active: then it stays as it is. */
  protected async withPool<Result>(
    folder: string,
    work: (pool: ThinPool) => Promise<Result>,
  ): Promise<Result> {
    return await this.withKernel(async (kernel) => {
      const { openPool } = await import("@thinpool/thinpool");
      const pool = await openPool({ folder, kernel, monitor: false });
      try {
        return await work(pool);
      } finally {
        const { activeCount } = await pool.status();
        await (activeCount === 0 ? pool.close() : pool.detach());
      }
    });
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

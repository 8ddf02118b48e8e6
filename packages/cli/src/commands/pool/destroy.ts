import type { ClosedPoolRecords } from "@thinpool/thinpool";
import { alwaysDirectFlag, dryRunFlag, yesFlag } from "../../lib/flags.ts";
import { withKernel } from "../../lib/kernel.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { formatSize } from "../../lib/size.ts";

const MAX_NAMED = 5;

export default class PoolDestroy extends PoolCommand {
  static override summary = "Delete the pool with all its devices, images, backups and data.";
  static override description =
    "It asks first; where nobody can answer it takes --yes. A pool with a device that is mounted or open is left as it is. Needs root, and no process that has the pool open.";
  static override flags = { direct: alwaysDirectFlag, "dry-run": dryRunFlag, yes: yesFlag };

  async run() {
    const { flags } = await this.parse(PoolDestroy);
    const { folder } = flags;
    const { destroyPool, readClosedPool } = await import("@thinpool/thinpool");
    return await withKernel(async (kernel) => {
      const pool = await readClosedPool({ folder, kernel });
      const what = describe(pool);
      if (flags["dry-run"]) return this.planned(`destroy ${what}`);
      await this.confirmLoss(`Destroy ${what}?`, flags.yes);
      await destroyPool({ folder, kernel });
      this.log(pool.uuid);
      return { destroyed: pool.uuid };
    });
  }
}

function describe({
  uuid,
  folder,
  devices,
  dataBytes,
  backing,
  dataPath,
}: ClosedPoolRecords): string {
  const names = devices.slice(0, MAX_NAMED).map(({ name }) => name);
  const more = devices.length > MAX_NAMED ? `, ${devices.length - MAX_NAMED} more` : "";
  const list = devices.length === 0 ? "no devices" : `${names.join(", ")}${more}`;
  const place = backing === "block" ? `${folder} and on ${dataPath}` : folder;
  return `pool ${uuid} in ${place} (${formatSize(dataBytes)}) with ${list}`;
}

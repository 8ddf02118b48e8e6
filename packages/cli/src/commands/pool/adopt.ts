import { Flags } from "@oclif/core";
import type { AdoptedDevice, AdoptPoolOptions } from "@thinpool/thinpool";
import { UsageError } from "../../lib/errors.ts";
import { alwaysDirectFlag, bytesFlag, dryRunFlag } from "../../lib/flags.ts";
import { withKernel } from "../../lib/kernel.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { formatSize, parseSize } from "../../lib/size.ts";
import { renderTable } from "../../lib/table.ts";
import { parsePath } from "../../lib/path.ts";

const path = (summary: string, other: string, exclusive: string[]) =>
  Flags.string({
    summary,
    helpValue: "PATH",
    dependsOn: [other],
    exclusive,
    parse: async (text) => parsePath(text),
  });
const DEVICES = ["data-device", "metadata-device"];
const FILES = ["data-file", "metadata-file"];

export default class PoolAdopt extends PoolCommand {
  static override summary = "Take over a pool that another program or machine made.";
  static override description =
    "Makes records for it in --folder; its devices are read from its metadata, and nothing of it is changed. It must be down. Block devices are found again by the paths given here: name them by those in /dev/disk/by-id. LVM's pools can be taken over as long as LVM does not count their transactions. Needs root and thin-provisioning-tools.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> --data-device /dev/disk/by-id/nvme-LARGE --metadata-device /dev/disk/by-id/nvme-FAST --name 1=base",
  ];
  static override flags = {
    direct: alwaysDirectFlag,
    bytes: bytesFlag,
    "dry-run": dryRunFlag,
    "data-device": path("The block device with its data.", "metadata-device", FILES),
    "metadata-device": path("The block device with its metadata.", "data-device", FILES),
    "data-file": path("The file with its data.", "metadata-file", DEVICES),
    "metadata-file": path("The file with its metadata.", "data-file", DEVICES),
    name: Flags.string({
      summary:
        "The name of a device by its thin id; without it thin-ID. Can be given several times.",
      helpValue: "ID=NAME",
      multiple: true,
      multipleNonGreedy: true,
    }),
    size: Flags.string({
      summary:
        "Its size, which a pool does not store; without it what its filesystem says, or as far as blocks are mapped.",
      helpValue: "ID=SIZE",
      multiple: true,
      multipleNonGreedy: true,
    }),
  };

  async run() {
    const { flags } = await this.parse(PoolAdopt);
    const { folder } = flags;
    const backing = backingOf(flags);
    const names = byThinId(flags.name ?? [], (name) => name);
    const sizes = byThinId(flags.size ?? [], parseSize);
    if (flags["dry-run"]) {
      const { dataPath, metadataPath } = backing;
      return this.planned(
        `make records in ${folder} for the pool on ${dataPath} and ${metadataPath}`,
      );
    }
    const { adoptPool } = await import("@thinpool/thinpool");
    return await withKernel(async (kernel) => {
      const { pool, devices } = await adoptPool({
        folder,
        kernel,
        backing,
        name: (thinId) => names.get(thinId) ?? `thin-${thinId}`,
        sizeBytes: (thinId) => sizes.get(thinId),
        monitor: false,
      });
      const { uuid } = pool;
      await pool.close();
      this.log(uuid);
      this.log(renderAdopted(devices, flags));
      return { uuid, folder: pool.folder, devices };
    });
  }
}

function backingOf(flags: {
  readonly "data-device": string | undefined;
  readonly "metadata-device": string | undefined;
  readonly "data-file": string | undefined;
  readonly "metadata-file": string | undefined;
}): AdoptPoolOptions["backing"] {
  const onDevices = flags["data-device"] !== undefined;
  const dataPath = flags["data-device"] ?? flags["data-file"];
  const metadataPath = flags["metadata-device"] ?? flags["metadata-file"];
  if (dataPath !== undefined && metadataPath !== undefined) {
    return { type: onDevices ? "block" : "files", dataPath, metadataPath };
  }
  throw new UsageError({
    reason: "where the pool is, is not said",
    hint: "Give --data-device and --metadata-device, or --data-file and --metadata-file.",
  });
}

function byThinId<Value>(
  words: readonly string[],
  read: (text: string) => Value,
): ReadonlyMap<number, Value> {
  return new Map(
    words.map((word) => {
      const [, id, text] = /^(\d{1,8})=(.+)$/.exec(word) ?? [];
      if (id !== undefined && text !== undefined) return [Number(id), read(text)];
      throw new UsageError({
        reason: `${JSON.stringify(word)} is no thin id with something after a "="`,
        hint: "Write it as 1=base or 1=10GiB.",
      });
    }),
  );
}

function renderAdopted(
  devices: readonly AdoptedDevice[],
  { bytes }: { readonly bytes: boolean },
): string {
  return renderTable<AdoptedDevice>(
    [
      { heading: "NAME", value: ({ name }) => name },
      { heading: "THIN ID", align: "right", value: ({ thinId }) => String(thinId) },
      {
        heading: "SIZE",
        align: "right",
        value: ({ sizeBytes }) => (bytes ? String(sizeBytes) : formatSize(sizeBytes)),
      },
      { heading: "SIZE FROM", value: ({ sizeFrom }) => sizeFrom },
    ],
    devices,
  );
}

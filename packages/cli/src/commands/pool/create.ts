import { Flags } from "@oclif/core";
import { UsageError } from "../../lib/errors.ts";
import { dryRunFlag, sizeFlag } from "../../lib/flags.ts";
import { withKernel } from "../../lib/kernel.ts";
import { PoolCommand } from "../../lib/pool-command.ts";
import { formatSize } from "../../lib/size.ts";

const SECTOR_BYTES = 512n;

export default class PoolCreate extends PoolCommand {
  static override summary = "Make a new pool, on two sparse files or on two block devices.";
  static override description =
    "Works on the kernel itself, so it needs root. The pool is closed afterwards: `serve` opens it. Block devices are found again by the paths given here: those in /dev/disk/by-id stay a disk's own, while /dev/sdb may be another one after a boot.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> --data-size 100GiB --metadata-size 2GiB",
    "<%= config.bin %> <%= command.id %> --data-device /dev/disk/by-id/nvme-LARGE --metadata-device /dev/disk/by-id/nvme-FAST",
  ];
  static override flags = {
    "dry-run": dryRunFlag,
    "data-size": sizeFlag({ summary: "Size of the data file; without it 100 GiB, sparse." }),
    "metadata-size": sizeFlag({ summary: "Size of the metadata file; without it 2 GiB, sparse." }),
    "data-device": Flags.string({
      summary: "An empty block device for the data, instead of a file.",
      dependsOn: ["metadata-device"],
      exclusive: ["data-size", "metadata-size"],
      helpValue: "PATH",
    }),
    "metadata-device": Flags.string({
      summary: "An empty block device for the metadata, instead of a file.",
      dependsOn: ["data-device"],
      exclusive: ["data-size", "metadata-size"],
      helpValue: "PATH",
    }),
    "block-size": sizeFlag({ summary: "64KiB to 1GiB, in steps of 64KiB; without it 256 KiB." }),
    "low-water": sizeFlag({ summary: "Warn when less data space is free; without it 2 GiB." }),
  };

  protected override hints(): Readonly<Record<string, string>> {
    return {
      POOL_LOCKED: "There is a pool already, in use: choose another --folder for a new one.",
    };
  }

  async run() {
    const { flags } = await this.parse(PoolCreate);
    const { createPool, MIN_BLOCK_SECTORS, ...defaults } = await import("@thinpool/thinpool");
    const { DEFAULT_BLOCK_SECTORS, DEFAULT_DATA_BYTES, DEFAULT_METADATA_BYTES } = defaults;
    const blockSteps = wholeUnits(
      flags["block-size"],
      MIN_BLOCK_SECTORS * SECTOR_BYTES,
      "--block-size",
    );
    const blockSectors = blockSteps === undefined ? undefined : blockSteps * MIN_BLOCK_SECTORS;
    const blockBytes = (blockSectors ?? DEFAULT_BLOCK_SECTORS) * SECTOR_BYTES;
    const lowWaterBlocks = wholeUnits(flags["low-water"], blockBytes, "--low-water");
    const dataPath = flags["data-device"];
    const metadataPath = flags["metadata-device"];
    const dataBytes = flags["data-size"];
    const metadataBytes = flags["metadata-size"];

    if (flags["dry-run"]) {
      const place =
        dataPath === undefined || metadataPath === undefined
          ? `sparse files in ${flags.folder}: data ${formatSize(dataBytes ?? DEFAULT_DATA_BYTES)}, metadata ${formatSize(metadataBytes ?? DEFAULT_METADATA_BYTES)}`
          : `${dataPath} for the data and ${metadataPath} for the metadata, erasing what they hold`;
      return this.planned(`make a pool with blocks of ${formatSize(blockBytes)} on ${place}`);
    }
    return await withKernel(async (kernel) => {
      const pool = await createPool({
        folder: flags.folder,
        kernel,
        backing:
          dataPath !== undefined && metadataPath !== undefined
            ? { type: "block", dataPath, metadataPath }
            : {
                type: "files",
                ...(dataBytes === undefined ? {} : { dataBytes }),
                ...(metadataBytes === undefined ? {} : { metadataBytes }),
              },
        ...(blockSectors === undefined ? {} : { blockSectors }),
        ...(lowWaterBlocks === undefined ? {} : { lowWaterBlocks }),
      });
      const { uuid, folder } = pool;
      await pool.close();
      this.log(uuid);
      return { uuid, folder };
    });
  }
}

function wholeUnits(
  bytes: bigint | undefined,
  unitBytes: bigint,
  flag: string,
): bigint | undefined {
  if (bytes === undefined) return undefined;
  if (bytes % unitBytes !== 0n) {
    throw new UsageError({
      reason: `${flag} is no multiple of ${unitBytes} bytes (${formatSize(unitBytes)})`,
      hint: "Choose the next multiple.",
    });
  }
  return bytes / unitBytes;
}

import { Args, Flags } from "@oclif/core";
import type { Imported } from "@thinpool/sdk";
import { newNameArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { assertNameFree } from "../../lib/device.ts";
import { UsageError } from "../../lib/errors.ts";
import { dryRunFlag, sizeFlag } from "../../lib/flags.ts";
import { formatSize } from "../../lib/size.ts";

export default class ImageImport extends DaemonCommand {
  static override summary = "Make an image from a tar archive or a folder, without a mount.";
  static override description =
    "The archive may be compressed with gzip or zstd; of a container image it is what `docker export` writes, not `docker save`. Files, folders, links, modes and times come along; owners, setuid and setgid bits and attributes don't; an archive with device nodes, pipes, or paths that lead out is refused. What root imports others can clone once it is whole; where it fails, there is nothing. Who may make devices may import them, and who may clone the --origin.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> debian rootfs.tar.gz --size 20GiB",
    "tar -C /srv/base -c . | <%= config.bin %> <%= command.id %> base -",
    "<%= config.bin %> <%= command.id %> node-24 node_modules --origin base --private",
  ];
  static override args = {
    name: newNameArg,
    source: Args.string({
      name: "FILE|FOLDER|-",
      description: "The archive, a folder that is packed on the way, or - for standard input.",
      required: true,
    }),
  };
  static override flags = {
    "dry-run": dryRunFlag,
    size: sizeFlag({ summary: "Its size; without it the daemon's default, 10 GiB." }),
    filesystem: Flags.option({
      summary: "The filesystem made on it; without it ext4.",
      options: ["ext4", "xfs"] as const,
    })(),
    origin: Flags.string({
      summary: "Begin with a copy of this device, not with an empty one.",
      helpValue: "DEVICE",
      exclusive: ["size", "filesystem"],
    }),
    sha256: Flags.string({
      summary: "The SHA-256 that the file must have, as it is.",
      helpValue: "HEX",
      parse: async (text) => parseSha256(text),
    }),
    private: Flags.boolean({ summary: "Don't publish it: `image publish` does, later." }),
  };

  async run() {
    const { args, flags } = await this.parse(ImageImport);
    const { name } = args;
    const { measureArchive, openArchive } = await import("../../lib/archive.ts");
    const { size: fileBytes } = await measureArchive(args.source);
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        assertNameFree(await client.list(), name);
        const { origin, size } = flags;
        const sized = size === undefined ? "the default size" : formatSize(size);
        const made =
          origin === undefined ? `(${sized}, ${flags.filesystem ?? "ext4"})` : `from ${origin}`;
        const amount = fileBytes === undefined ? "" : ` (${formatSize(fileBytes)})`;
        return this.planned(
          `create device ${name} ${made}`,
          `unpack ${args.source} into it${amount}`,
        );
      }
      const { interruptible } = await import("../../lib/interruption.ts");
      const { Progress } = await import("../../lib/progress.ts");
      using archive = await openArchive(args.source, flags.sha256);
      const { bytes: source, totalBytes } = archive;
      const left = "Nothing is left: the device was removed again.";
      const cancelled = { name: "image import", object: name, left };
      const imported = await interruptible(cancelled, async (signal) => {
        const known = totalBytes === undefined ? {} : { totalBytes };
        using progress = new Progress({ label: "importing", ...known, silent: this.jsonEnabled() });
        let done = 0n;
        return await client.importImage({
          name,
          source,
          signal,
          ...(totalBytes === undefined ? {} : { streamBytes: totalBytes }),
          ...(flags.size === undefined ? {} : { sizeBytes: flags.size }),
          ...(flags.filesystem === undefined ? {} : { filesystem: flags.filesystem }),
          ...(flags.origin === undefined ? {} : { origin: flags.origin }),
          onProgress: (now) => {
            progress.add(Number(now.done - done));
            done = now.done;
          },
        });
      });
      const { device } = imported;
      const isPublic = device.ownerUid === 0 && !flags.private;
      const image = isPublic ? await client.rights.publish({ name }) : device;
      this.log(name);
      if (!this.jsonEnabled()) this.#say(imported);
      return { image, content: imported.content };
    });
  }

  #say({ content }: Imported): void {
    if (content === undefined) return;
    const { entries, streamBytes, sha256, withoutSetId } = content;
    const without = withoutSetId === 0 ? "" : `, ${withoutSetId} of them without setuid or setgid`;
    this.logToStderr(
      `${entries} entries${without}; ${formatSize(streamBytes)}, SHA-256 ${sha256}.`,
    );
  }
}

function parseSha256(text: string): string {
  const sum = text.toLowerCase();
  if (/^[0-9a-f]{64}$/.test(sum)) return sum;
  throw new UsageError({
    reason: `${JSON.stringify(text)} is no SHA-256`,
    hint: "Give its 64 hexadecimal digits, as sha256sum prints them.",
  });
}

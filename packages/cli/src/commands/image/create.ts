import { realpath, stat } from "node:fs/promises";
import { Flags } from "@oclif/core";
import type { Client } from "@thinpool/sdk";
import { newNameArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { assertNameFree } from "../../lib/device.ts";
import { CommandError, UsageError } from "../../lib/errors.ts";
import { dryRunFlag, sizeFlag } from "../../lib/flags.ts";
import { formatSize } from "../../lib/size.ts";
import { urlOf } from "../../lib/target.ts";
import { parsePath } from "../../lib/path.ts";

/** Room beside what is copied: the filesystem's own, and for clones to write. */
const ROOM_FACTOR = 2n;
const GIB = 1n << 30n;

export default class ImageCreate extends DaemonCommand {
  static override summary = "Make an image from a folder: a device with a copy of what is in it.";
  static override description =
    "Modes, owners, times, links and users' extended attributes come along; device nodes, pipes, sockets, setuid and setgid bits and file capabilities don't, nor what is mounted below the folder. Others can clone it once it is whole; before that, and where it fails, there is no image. Only root can.";
  static override examples = [
    "sudo thinpool image create base --from-folder /srv/base --size 20GiB",
  ];
  static override args = { name: newNameArg };
  static override flags = {
    "dry-run": dryRunFlag,
    "from-folder": Flags.string({
      summary: "The folder to copy.",
      required: true,
      helpValue: "FOLDER",
      parse: async (path) => parsePath(path),
    }),
    size: sizeFlag({
      summary: "Its size; without it 10 GiB, or twice what is copied where that is more.",
    }),
    filesystem: Flags.option({
      summary: "The filesystem made on it; without it ext4.",
      options: ["ext4", "xfs"] as const,
    })(),
    private: Flags.boolean({ summary: "Don't publish it: `image publish` does, later." }),
  };

  async run() {
    const { args, flags } = await this.parse(ImageCreate);
    const { name } = args;
    if (!flags.direct && urlOf(flags, process.env) !== undefined) {
      throw new UsageError({
        reason:
          "it copies the folder into a mount, and that is on the daemon's machine, not on this one",
        hint: "Send the files: thinpool image import NAME FOLDER.",
      });
    }
    if (process.geteuid?.() !== 0) {
      throw new CommandError({
        code: "NOT_ROOT",
        operation: "image create",
        object: name,
        reason: "images are root's, and so is the copying of others' files",
        hint: "Run it as root.",
      });
    }
    const { measureTree } = await import("../../lib/copy-tree.ts");
    const { DEFAULT_DEVICE_BYTES } = await import("@thinpool/thinpool");
    const from = await folderAt(flags["from-folder"]);
    const content = await measureTree(from);
    const needed = ((content.bytes * ROOM_FACTOR) / GIB + 1n) * GIB;
    const size = flags.size ?? (needed > DEFAULT_DEVICE_BYTES ? needed : DEFAULT_DEVICE_BYTES);
    const filesystem = flags.filesystem ?? "ext4";
    const what = `${content.files} files, ${formatSize(content.bytes)}`;
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        assertNameFree(await client.list(), name);
        return this.planned(
          `create device ${name} (${formatSize(size)}, ${filesystem})`,
          `copy ${from} to it (${what})`,
          ...(flags.private ? [] : [`let others clone ${name}`]),
        );
      }
      const { interruptible } = await import("../../lib/interruption.ts");
      const left = "Nothing is left: the device was removed again.";
      const cancelled = { name: "image create", object: name, left };
      const { image, copied } = await interruptible(cancelled, async (signal) => {
        // Without the signal: a daemon that makes it already goes on, and what it makes has to be removed.
        const created = await client.create({ name, sizeBytes: size, filesystem });
        try {
          signal.throwIfAborted();
          return await this.#fill(client, name, {
            from,
            totalBytes: content.bytes,
            isPublic: !flags.private,
            signal,
          });
        } catch (error) {
          await removeAgain(client, created.name, error);
          throw error;
        }
      });
      this.log(image.name);
      const { specialFilesLeftOut, setIdsTaken } = copied;
      if (specialFilesLeftOut + setIdsTaken > 0 && !this.jsonEnabled()) {
        this.logToStderr(
          `Left out: ${specialFilesLeftOut} special files, and setuid or setgid of ${setIdsTaken} files.`,
        );
      }
      return { image, copied: { ...content, ...copied } };
    });
  }

  /** Afterwards it is not mounted, however this ends. */
  async #fill(
    client: Client,
    name: string,
    options: {
      readonly from: string;
      readonly totalBytes: bigint;
      readonly isPublic: boolean;
      readonly signal: AbortSignal;
    },
  ) {
    const { from, totalBytes, isPublic, signal } = options;
    const { copyTree } = await import("../../lib/copy-tree.ts");
    const { Progress } = await import("../../lib/progress.ts");
    const mount = await client.mount({ device: name });
    let copied;
    try {
      using progress = new Progress({ label: "copying", totalBytes, silent: this.jsonEnabled() });
      const onBytes = (bytes: number): void => progress.add(bytes);
      copied = await copyTree({ from, to: mount.path, signal, onBytes });
    } finally {
      // Unmounting writes all of it to the disk.
      await mount.release();
    }
    const image = isPublic ? await client.rights.publish({ name }) : await client.get({ name });
    return { image, copied };
  }
}

/** Where that fails too, both are told: the device is left, and is no image. */
async function removeAgain(client: Client, name: string, failure: unknown): Promise<void> {
  try {
    await client.remove({ name });
  } catch (error) {
    const said = (thrown: unknown): string =>
      thrown instanceof Error ? thrown.message : String(thrown);
    throw new CommandError({
      code: "COPY_FAILED",
      operation: "image create",
      object: name,
      reason: `${said(failure)} The device could not be removed again: ${said(error)}`,
      hint: `Remove it: thinpool device remove ${name}.`,
      cause: new AggregateError([failure, error]),
    });
  }
}

async function folderAt(path: string): Promise<string> {
  let reason = "it is no folder";
  try {
    if ((await stat(path)).isDirectory()) return await realpath(path);
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  throw new CommandError({
    code: "NO_FOLDER",
    operation: "image create",
    object: path,
    reason,
    hint: "Name a folder that is there.",
  });
}

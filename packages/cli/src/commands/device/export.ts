import { createHash } from "node:crypto";
import { Args, Flags } from "@oclif/core";
import type { Client, ExportSummary } from "@thinpool/sdk";
import { deviceArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { describeDevice } from "../../lib/device.ts";
import { CommandError, UsageError } from "../../lib/errors.ts";
import { dryRunFlag } from "../../lib/flags.ts";
import { isReaderGone } from "../../lib/reader.ts";
import { formatSize } from "../../lib/size.ts";

type Write = (part: Uint8Array) => Promise<unknown>;

export default class DeviceExport extends DaemonCommand {
  static override summary = "Write the files of a device, as they are now, to a tar archive.";
  static override description =
    "Of a snapshot that is taken for it: the device may be mounted and in use. Folder by folder and in the order of the names, so that the same files make the same archive. Owners are not in it, nor device nodes, sockets, pipes, setuid and setgid bits. The file is there when it is whole, or not at all.";
  static override examples = [
    "<%= config.bin %> <%= command.id %> mine mine.tar",
    "<%= config.bin %> <%= command.id %> mine - | zstd > mine.tar.zst",
  ];
  static override args = {
    device: deviceArg,
    file: Args.string({
      name: "FILE|-",
      description: "Where to, or - for standard output.",
      required: true,
    }),
  };
  static override flags = {
    "dry-run": dryRunFlag,
    force: Flags.boolean({ char: "f", summary: "Write over a file that is there." }),
  };

  async run() {
    const { args, flags } = await this.parse(DeviceExport);
    const { STANDARD, writeWhole } = await import("../../lib/archive.ts");
    const { device: name, file } = args;
    const toStandard = file === STANDARD;
    if (toStandard) assertMayPrint(this.jsonEnabled());
    return await this.withClient(flags, async (client) => {
      if (flags["dry-run"]) {
        const device = await client.get({ name });
        const to = toStandard ? "standard output" : file;
        return this.planned(`write the files of ${describeDevice(device)} to ${to}`);
      }
      const { interruptible } = await import("../../lib/interruption.ts");
      const left = toStandard ? "What came until then is no archive." : "Nothing is left.";
      const cancelled = { name: "device export", object: name, left };
      const summary = await interruptible(cancelled, async (signal) => {
        if (toStandard) return await this.#read(client, name, signal, print);
        return await writeWhole(file, flags, (handle) =>
          this.#read(client, name, signal, (part) => handle.writeFile(part)),
        );
      });
      // As sha256sum prints it, so that it can check it.
      if (!toStandard) this.log(`${summary.sha256}  ${file}`);
      if (!this.jsonEnabled()) {
        const { entries, streamBytes, left: without } = summary;
        const more = without === 0 ? "" : `; ${without} devices, sockets and pipes were left out`;
        this.logToStderr(`${entries} entries, ${formatSize(streamBytes)}${more}.`);
      }
      return { device: name, file, ...summary };
    });
  }

  async #read(
    client: Client,
    name: string,
    signal: AbortSignal,
    write: Write,
  ): Promise<ExportSummary> {
    const { Progress } = await import("../../lib/progress.ts");
    using progress = new Progress({ label: "exporting", silent: this.jsonEnabled() });
    const sum = createHash("sha256");
    const archive = client.exportDevice({ name, signal });
    for await (const part of archive) {
      sum.update(part);
      await write(part);
      progress.add(part.length);
    }
    const summary = await archive.summary;
    const found = sum.digest("hex");
    if (found === summary.sha256) return summary;
    throw new CommandError({
      code: "CHECKSUM_MISMATCH",
      operation: "device export",
      object: name,
      reason: `what came has the SHA-256 ${found}, not ${summary.sha256}`,
      hint: "Try again; if it stays so, report it.",
    });
  }
}

function assertMayPrint(json: boolean): void {
  if (json) {
    const reason = "the archive and --json can't both go to standard output";
    throw new UsageError({ reason, hint: "Name a file, or leave --json out." });
  }
  if (process.stdout.isTTY) {
    const reason = "standard output is a terminal";
    throw new UsageError({ reason, hint: "Name a file, or pipe it into a program." });
  }
}

async function print(part: Uint8Array): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(part, (error) => (error == null ? resolve() : reject(notTaken(error))));
  });
}

/** Half an archive is none: here the reader's end is a failure. */
function notTaken(cause: Error): CommandError {
  return new CommandError({
    code: "COPY_FAILED",
    operation: "device export",
    object: "standard output",
    reason: isReaderGone(cause) ? "whoever read it has ended" : cause.message,
    hint: "See why the program that it is piped into ended, or what it is written to is full.",
    cause,
  });
}

import type { ChangedRange } from "@thinpool/sdk";
import { deviceArg, olderArg } from "../../lib/args.ts";
import { DaemonCommand } from "../../lib/daemon-command.ts";
import { bytesFlag } from "../../lib/flags.ts";
import { formatSize } from "../../lib/size.ts";

/** The columns are as wide as they can get: the lines come as the ranges do. */
const KIND_WIDTH = "changed".length;
const OFFSET_WIDTH = String(1n << 63n).length;

export default class DeviceDiff extends DaemonCommand {
  static override summary = "List the byte ranges in which a device differs from an older one.";
  static override description =
    "The base of an incremental backup: copy what is changed or added, zero what is removed. By what the pool maps: what was written anew with the same bytes counts as changed. Compare snapshots; a device in use changes meanwhile. Offsets are in bytes.";
  static override examples = ["<%= config.bin %> <%= command.id %> today yesterday --json"];
  static override args = { device: deviceArg, older: olderArg };
  static override flags = { bytes: bytesFlag };

  async run() {
    const { args, flags } = await this.parse(DeviceDiff);
    return await this.withClient(flags, async (client) => {
      const ranges: ChangedRange[] = [];
      let differentBytes = 0n;
      const show = (size: bigint): string => (flags.bytes ? String(size) : formatSize(size));
      const compared = { name: args.device, from: args.older };
      for await (const range of client.devices.changedBlocks(compared)) {
        const { kind, offsetBytes, lengthBytes } = range;
        differentBytes += lengthBytes;
        if (this.jsonEnabled()) ranges.push(range);
        else {
          const offset = String(offsetBytes).padStart(OFFSET_WIDTH);
          this.log(`${kind.padEnd(KIND_WIDTH)}  ${offset}  ${show(lengthBytes)}`);
        }
      }
      if (!this.jsonEnabled()) this.logToStderr(`${show(differentBytes)} differ.`);
      return { differentBytes, ranges };
    });
  }
}

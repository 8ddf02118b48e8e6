import { Flags } from "@oclif/core";
import { BaseCommand } from "../../lib/base-command.ts";
import { dryRunFlag, folderFlag, socketFlag } from "../../lib/flags.ts";
import { rootFlag, withMachineFiles } from "../../lib/service-flags.ts";
import { tcpFlags, tcpWords } from "../../lib/tcp-flags.ts";

export default class ServiceInstall extends BaseCommand {
  static override summary = "Make the daemon a service of systemd, started with the machine.";
  static override description =
    "Writes two units and a file of accounts, makes the group, and starts the socket: the daemon starts with the first client. Can be repeated, with other flags too. Needs root.";
  static override flags = {
    "dry-run": dryRunFlag,
    folder: folderFlag,
    socket: socketFlag,
    "socket-group": Flags.string({
      summary: "Group whose members may connect; without it the group thinpool, which is made.",
      helpValue: "GROUP",
    }),
    metrics: Flags.string({
      summary:
        "Serve Prometheus metrics here: a socket for root only, or a port of 127.0.0.1; without it nowhere.",
      helpValue: "PATH|PORT",
    }),
    ...tcpFlags,
    root: rootFlag,
  };

  async run() {
    const { flags } = await this.parse(ServiceInstall);
    const { folder, socket: socketPath, metrics, root } = flags;
    const {
      daemonProgram,
      installService,
      parseMetricsAddress,
      parseTcpFlags,
      DEFAULT_SOCKET_GROUP,
    } = await import("@thinpool/mount-helper");
    const tcp = parseTcpFlags(tcpWords(flags));
    const socketGroup = flags["socket-group"] ?? DEFAULT_SOCKET_GROUP;
    if (metrics !== undefined) parseMetricsAddress(metrics);
    const program = daemonProgram();
    if (flags["dry-run"]) {
      return this.planned(
        `install thinpoold below ${root}: pool ${folder}, socket ${socketPath} for group ${socketGroup}`,
        `run ${program.join(" ")}`,
      );
    }
    const options = { folder, socketPath, socketGroup, program, metrics, tcp };
    const written = await withMachineFiles("service install", root, () =>
      installService(options, { root }),
    );
    for (const path of written) this.log(path);
    return { written };
  }
}

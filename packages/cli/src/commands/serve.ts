import { Flags } from "@oclif/core";
import { BaseCommand } from "../lib/base-command.ts";
import { folderFlag, socketFlag } from "../lib/flags.ts";
import { stopSignal } from "../lib/stop-signal.ts";
import { tcpFlags, tcpWords } from "../lib/tcp-flags.ts";
import { parsePath } from "../lib/path.ts";

export default class Serve extends BaseCommand {
  static override summary = "Run the daemon, thinpoold, in the foreground until SIGTERM or SIGINT.";
  static override description =
    "Needs root. Its log is one line of JSON per event on stderr. Mounts and their references outlive it: the next start knows them again.";
  // It has no result to print.
  static override enableJsonFlag = false;
  static override flags = {
    folder: folderFlag,
    socket: socketFlag,
    "socket-group": Flags.string({
      summary: "Group whose members may connect; without it the group thinpool, if there is one.",
      helpValue: "GROUP",
    }),
    "mount-root": Flags.string({
      summary: "Folder in which devices are mounted; without it /run/thinpool/mounts.",
      helpValue: "PATH",
      parse: async (path) => parsePath(path),
    }),
    policy: Flags.string({
      summary:
        "File that says who may do what; without it /etc/thinpool/policy.json, if there is one. Read anew on SIGHUP.",
      helpValue: "FILE",
      parse: async (path) => parsePath(path),
    }),
    metrics: Flags.string({
      summary:
        "Serve Prometheus metrics here: a socket for root only, or a port of 127.0.0.1; without it nowhere.",
      helpValue: "PATH|PORT",
    }),
    ...tcpFlags,
    teardown: Flags.boolean({
      summary: "At the end release all mounts and take the pool down, instead of leaving both.",
    }),
  };

  async run() {
    const { flags } = await this.parse(Serve);
    const { linuxKernel } = await import("@thinpool/thinpool");
    const { choosePolicyFile, parseMetricsAddress, parseTcpFlags, startDaemon } =
      await import("@thinpool/mount-helper");
    const tcp = parseTcpFlags(tcpWords(flags));
    const metrics = flags.metrics === undefined ? undefined : parseMetricsAddress(flags.metrics);
    const socketGroup = flags["socket-group"];
    const mountRoot = flags["mount-root"];
    const policyFile = await choosePolicyFile(flags.policy);
    // A service trusts nothing that it inherits.
    process.umask(0o077);
    process.chdir("/");
    await using kernel = linuxKernel();
    const daemon = await startDaemon({
      folder: flags.folder,
      socketPath: flags.socket,
      kernel,
      metrics,
      tcp,
      ...(socketGroup === undefined ? {} : { socketGroup }),
      ...(mountRoot === undefined ? {} : { mountRoot }),
      ...(policyFile === undefined ? {} : { policyFile }),
    });
    process.on("SIGHUP", () => {
      void daemon.reloadPolicy();
      void daemon.reloadCertificate();
    });
    await stopSignal();
    await daemon.stop({ teardown: flags.teardown });
  }
}

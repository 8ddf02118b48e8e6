/** Hands the command line to oclif. */
import { settings } from "@oclif/core";
import { Config } from "@oclif/core/config";
import { normalizeArgv } from "@oclif/core/help";
import { run } from "@oclif/core/run";
import { UsageError } from "./errors.ts";

export interface RunOptions {
  readonly argv: readonly string[];
  /** The folder of package.json. */
  readonly root: string;
  readonly manifest: { readonly name: string; readonly version: string };
  /** The module that lists the commands. */
  readonly target: string;
}

/** Throws a UsageError for a command that there is not; a command itself reports what it throws. */
export async function runThinpool({ argv, root, manifest, target }: RunOptions): Promise<void> {
  // Node runs the sources as they are: oclif shall look for no transpiler.
  settings.enableAutoTranspile = false;
  const config = await Config.load({
    root,
    isRoot: true,
    userPlugins: false,
    devPlugins: false,
    jitPlugins: false,
    pjson: {
      ...manifest,
      oclif: {
        bin: "thinpool",
        dirname: "thinpool",
        topicSeparator: " ",
        topics: {
          completion: { description: "The shells' completion." },
          device: { description: "Devices of the pool." },
          image: { description: "Devices of root's that others may clone." },
          lease: { description: "Mounts that end by themselves." },
          policy: { description: "Who may do what." },
          pool: { description: "The pool itself." },
          service: { description: "The daemon as a service of systemd." },
          token: { description: "Single rights on a device, given away." },
        },
        commands: { strategy: "explicit", target, identifier: "commands" },
      },
    },
  });
  const [id = ""] = normalizeArgv(config, [...argv]);
  const asksForHelp = argv.length === 0 || argv.some((word) => word === "--help");
  if (!asksForHelp && config.findCommand(id) === undefined && config.findTopic(id) === undefined) {
    throw new UsageError({
      reason: `there is no command ${JSON.stringify(argv.filter((word) => !word.startsWith("-")).join(" "))}`,
      hint: "Run `thinpool --help` to see all.",
    });
  }
  await run([...argv], config);
}

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
        additionalHelpFlags: ["-h"],
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
  const asksForHelp = argv.length === 0 || argv.some((word) => word === "--help" || word === "-h");
  if (!asksForHelp && config.findCommand(id) === undefined && config.findTopic(id) === undefined) {
    throw notACommand(config, argv);
  }
  await run([...argv], config);
}

/** What is wrong with the words before the first flag, of which oclif makes one command's name. */
function notACommand(config: Config, argv: readonly string[]): UsageError {
  const firstFlag = argv.findIndex((word) => word.startsWith("-"));
  const words = argv.slice(0, firstFlag < 0 ? argv.length : firstFlag);
  if (words.length === 0) {
    return new UsageError({
      reason: `${JSON.stringify(argv[0] ?? "")} comes before the command`,
      hint: "Write the command first and its flags after it; `thinpool --help` shows all commands.",
    });
  }
  for (let known = words.length - 1; known > 0; known--) {
    if (config.findCommand(words.slice(0, known).join(":")) === undefined) continue;
    const surplus = words.slice(known).map((word) => JSON.stringify(word));
    return new UsageError({
      reason: `\`thinpool ${words.slice(0, known).join(" ")}\` takes no argument ${surplus.join(" ")}`,
      hint: "Run it with --help to see how it is called.",
    });
  }
  return new UsageError({
    reason: `there is no command ${JSON.stringify(words.join(" "))}`,
    hint: "Run `thinpool --help` to see all.",
  });
}

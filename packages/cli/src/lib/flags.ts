/** Flags and arguments that several commands have. */
import { Flags } from "@oclif/core";
import { DEFAULT_FOLDER, DEFAULT_SOCKET } from "./defaults.ts";
import { parseDuration } from "./duration.ts";
import { parseSize } from "./size.ts";
import { parsePath } from "./path.ts";

/** "10GiB" to bytes. */
export const sizeFlag = Flags.custom<bigint>({
  helpValue: "SIZE",
  parse: async (text) => parseSize(text),
});

/** "8h" to milliseconds. */
export const durationFlag = Flags.custom<number>({
  helpValue: "TIME",
  parse: async (text) => parseDuration(text),
});

export const socketFlag = Flags.string({
  summary: "Socket of the daemon.",
  env: "THINPOOL_SOCKET",
  default: DEFAULT_SOCKET,
  helpValue: "PATH",
  parse: async (path) => parsePath(path),
});

export const folderFlag = Flags.string({
  summary: "Folder of the pool: its records, and its data where no block devices are given.",
  env: "THINPOOL_FOLDER",
  default: DEFAULT_FOLDER,
  helpValue: "PATH",
  parse: async (path) => parsePath(path),
});

/** For what no daemon can do: said or not, it is so. */
export const alwaysDirectFlag = Flags.boolean({
  summary:
    "Said or not, it works on the pool of --folder itself: only root can, and no daemon may have it.",
});

export const bytesFlag = Flags.boolean({ summary: "Print sizes as exact numbers of bytes." });

export const dryRunFlag = Flags.boolean({ summary: "Say what would be done, and do nothing." });

export const yesFlag = Flags.boolean({ char: "y", summary: "Don't ask." });

/** The environment is seen by fewer than the list of processes, where an argument stands. */
export const tokenFlag = Flags.string({
  summary: "A token of the device's owner, where the policy alone does not allow it.",
  env: "THINPOOL_TOKEN",
  helpValue: "SECRET",
});

export const onBehalfOfFlag = Flags.integer({
  summary: "Do it in the name of this user, whose the device is; a right of its own.",
  helpValue: "UID",
  min: 0,
});

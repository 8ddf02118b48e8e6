/** Flags and arguments that several commands have. */
import { resolve } from "node:path";
import { Flags } from "@oclif/core";
import { parseSize } from "./size.ts";

export const DEFAULT_FOLDER = "/var/lib/thinpool";
export const DEFAULT_SOCKET = "/run/thinpool/thinpool.sock";

/** "10GiB" to bytes. */
export const sizeFlag = Flags.custom<bigint>({
  helpValue: "SIZE",
  parse: async (text) => parseSize(text),
});

export const socketFlag = Flags.string({
  summary: "Socket of the daemon.",
  env: "THINPOOL_SOCKET",
  default: DEFAULT_SOCKET,
  helpValue: "PATH",
  parse: async (path) => resolve(path),
});

export const folderFlag = Flags.string({
  summary: "Folder of the pool: its records, and its data where no block devices are given.",
  env: "THINPOOL_FOLDER",
  default: DEFAULT_FOLDER,
  helpValue: "PATH",
  parse: async (path) => resolve(path),
});

export const bytesFlag = Flags.boolean({ summary: "Print sizes as exact numbers of bytes." });

export const dryRunFlag = Flags.boolean({ summary: "Say what would be done, and do nothing." });

export const yesFlag = Flags.boolean({ char: "y", summary: "Don't ask." });

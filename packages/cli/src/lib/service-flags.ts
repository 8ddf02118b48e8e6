/** What the commands about the service have in common. */
import { resolve } from "node:path";
import { Flags } from "@oclif/core";

export const rootFlag = Flags.string({
  summary:
    "The files of a machine whose root is here, an image's say; its systemd is told nothing.",
  default: "/",
  helpValue: "FOLDER",
  parse: async (path) => resolve(path),
});

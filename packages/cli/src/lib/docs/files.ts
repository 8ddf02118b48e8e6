/** The files that are made from the commands, with what they must hold. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { commands } from "../../commands/index.ts";
import { entriesOf } from "./entries.ts";
import { renderManPage } from "./man-page.ts";
import { renderReference } from "./reference.ts";

const PACKAGE = join(import.meta.dirname, "../../..");

/** By absolute path. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const entries = entriesOf(commands);
  const manifest = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8")) as {
    readonly version: string;
  };
  return new Map([
    [join(PACKAGE, "man/thinpool.1"), renderManPage(entries, manifest.version)],
    [join(PACKAGE, "COMMANDS.md"), renderReference(entries)],
  ]);
}

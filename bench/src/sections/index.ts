import type { Section } from "../section.ts";
import { daemon } from "./daemon.ts";
import { database } from "./database.ts";
import { growth } from "./growth.ts";
import { io } from "./io.ts";
import { snapshot } from "./snapshot.ts";
import { workspace } from "./workspace.ts";

/** In the order in which they run. */
export const SECTIONS: readonly Section[] = [snapshot, daemon, growth, io, workspace, database];

export function chosenSections(options: { readonly only: readonly string[] }): readonly Section[] {
  if (options.only.length === 0) return SECTIONS;
  return options.only.flatMap((name) => SECTIONS.find((section) => section.name === name) ?? []);
}

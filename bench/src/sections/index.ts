import type { Section } from "../section.ts";
import { daemon } from "./daemon.ts";
import { database } from "./database.ts";
import { growth } from "./growth.ts";
import { io } from "./io.ts";
import { secondKernel } from "./second-kernel.ts";
import { snapshot } from "./snapshot.ts";
import { workspace } from "./workspace.ts";

/** In the order in which they run. */
export const SECTIONS: readonly Section[] = [
  snapshot,
  daemon,
  growth,
  io,
  workspace,
  database,
  secondKernel,
];

/** Those that are named; else all, in a quick run without the second kernel, on which a program is warm after minutes. */
export function chosenSections(options: {
  readonly only: readonly string[];
  readonly quick: boolean;
}): readonly Section[] {
  const { only, quick } = options;
  if (only.length === 0) return SECTIONS.filter(({ kernel }) => !quick || kernel === "uml");
  return only.flatMap((name) => SECTIONS.find((section) => section.name === name) ?? []);
}

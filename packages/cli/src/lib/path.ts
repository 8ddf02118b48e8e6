/** Paths as they are typed. */
import { resolve } from "node:path";
import { UsageError } from "./errors.ts";

/** Absolute. Nothing at all, as an unset variable of a script leaves it, would mean the folder one is in. */
export function parsePath(text: string): string {
  if (text !== "") return resolve(text);
  throw new UsageError({
    reason: "the path is empty",
    hint: "Name a file or folder; . is this one.",
  });
}

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./command.ts";

const FOLDER = join(ROOT, "node_modules/.cache/guest-compile");

/**
 * Options of the lab: Node keeps what it compiled, and how it took the types off, for the next process and
 * the next run, in the one folder that a guest may write.
 */
export const GUEST_COMPILE_CACHE: readonly string[] = [
  "--scratch",
  FOLDER,
  "--env",
  `NODE_COMPILE_CACHE=${FOLDER}`,
];

/** Before a run of the lab with these options. */
export function makeGuestCompileCache(): void {
  mkdirSync(FOLDER, { recursive: true });
}

/** How thinpoold is started: for the service's unit. */
import { dirname, extname, join } from "node:path";

/** Node and the program beside this package's entry, each by its absolute path. */
export function daemonProgram(): readonly string[] {
  const extension = extname(import.meta.filename);
  // From the sources the packages find each other by a condition that Node must be told.
  const conditions = extension === ".ts" ? ["--conditions=source"] : [];
  const main = join(dirname(import.meta.dirname), `main${extension}`);
  return [process.execPath, ...conditions, main];
}

/** How the tests start Node and the daemon: from the sources where they run from them themselves. */
import { join } from "node:path";

/** The build loads in half the time, which in an emulated kernel is seconds for each process. */
const fromSource = process.execArgv.includes("--conditions=source");

export const NODE_FLAGS: readonly string[] = fromSource ? ["--conditions=source"] : [];
export const THINPOOLD: string = join(
  import.meta.dirname,
  "../../packages/mount-helper",
  fromSource ? "src/main.ts" : "dist/main.js",
);

/**
 * Programs that start faster. What thinpoold starts has no environment, so it never hears of the cache of
 * compiled sources that these tests may have (NODE_COMPILE_CACHE); here it is told by an argument to Node.
 */
import { flushCompileCache } from "node:module";

export function cached(program: readonly string[]): readonly string[] {
  const folder = process.env["NODE_COMPILE_CACHE"];
  if (folder === undefined) return program;
  // It is killed in the end, and can't write the cache: what this process has loaded is there for it.
  flushCompileCache();
  const enable = `import { enableCompileCache } from "node:module"; enableCompileCache(${JSON.stringify(folder)});`;
  return ["--import", `data:text/javascript,${encodeURIComponent(enable)}`, ...program];
}

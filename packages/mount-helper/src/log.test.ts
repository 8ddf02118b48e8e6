import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const PROGRAM = `
  import { stderrLogger } from ${JSON.stringify(new URL("log.ts", import.meta.url).href)};
  const logger = stderrLogger();
  logger.log("info", "first");
  process.stdin.once("data", () => {
    logger.log("info", "second");
    stderrLogger().log("info", "third");
    setImmediate(() => {
      process.stdout.write("alive");
      process.stdin.destroy();
    });
  });
`;

test("whoever reads the log may go: that ends nothing", async () => {
  const args = ["--input-type=module", "--eval", PROGRAM];
  const cwd = fileURLToPath(new URL(".", import.meta.url));
  const child = spawn(process.execPath, args, { cwd, stdio: "pipe" });
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const [line] = (await once(child.stderr, "data")) as [Buffer];
  assert.match(line.toString(), /"event":"first"/);
  child.stderr.destroy();
  await once(child.stderr, "close");
  child.stdin.end("go");
  const [code] = (await once(child, "close")) as [number];
  assert.deepEqual({ code, said }, { code: 0, said: "alive" });
});

/**
 * A program in a container, run by mount-namespace.test.ts as `namespace-user.ts UID GID SOCKET`: reads
 * one command with its argument a line, and answers each with a line, all of them JSON. It starts as root
 * only so that it can read this repository wherever that lies.
 */
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ThinpoolError, connect } from "@thinpool/sdk";

const [uid = "", gid = "", socketPath = ""] = process.argv.slice(2);
process.setgroups?.([Number(gid)]);
process.setgid?.(Number(gid));
process.setuid?.(Number(uid));

const client = await connect({ socketPath, timeoutMs: 120_000 });
const references: string[] = [];
let device = "";

const commands: Readonly<Record<string, (argument: string) => Promise<unknown>>> = {
  async clone(name) {
    device = name;
    await client.clone({ origin: "base", name });
    return "done";
  },
  /** Its path. */
  async mount(folder) {
    const mount = await client.mount({ device, folder });
    references.push(mount.reference);
    return mount.path;
  },
  /** Who owns the file that it makes. */
  async write(folder) {
    await writeFile(join(folder, "file"), "from a container");
    return String((await stat(join(folder, "file"))).uid);
  },
  async names(folder) {
    return readdir(folder);
  },
  /** The one taken last; how many are left. */
  async release() {
    const reference = references.at(-1) ?? "";
    const { count } = await client.release({ reference });
    references.pop();
    return count;
  },
  async remove(name) {
    await client.remove({ name });
    return "done";
  },
  enter(folder) {
    process.chdir(folder);
    return Promise.resolve("done");
  },
};

function say(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

say("connected");
for await (const line of createInterface({ input: process.stdin })) {
  const [command = "", argument = ""] = JSON.parse(line) as string[];
  try {
    say(await commands[command]?.(argument));
  } catch (error) {
    if (!(error instanceof ThinpoolError)) throw error;
    say(error.code);
  }
}

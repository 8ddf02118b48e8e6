/**
 * A program without privileges, as a user of the SDK writes it: `user.ts UID GID SOCKET CONNECTIONS`.
 * Starts as root only to read this repository wherever it lies. Reads one JSON command a line, answers
 * with one line: the milliseconds of each call.
 */
import { writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { type Client, connect } from "@thinpool/sdk";
import type { UserCommand } from "./user-process.ts";

const [uid = "", gid = "", socketPath = "", connections = "1"] = process.argv.slice(2);
const TIMEOUT_MS = 600_000;

async function timed<T>(call: () => Promise<T>): Promise<{ readonly ms: number; readonly of: T }> {
  const start = performance.now();
  const of = await call();
  return { ms: performance.now() - start, of };
}

async function run(command: UserCommand, clients: readonly Client[]): Promise<readonly number[]> {
  const [client] = clients;
  if (client === undefined) throw new Error("no connection");
  switch (command.call) {
    case "clone":
      return [(await timed(() => client.clone({ origin: command.origin, name: command.name }))).ms];
    case "ready": {
      // From the request to the first byte of one's own.
      const ready = await timed(async () => {
        await client.clone({ origin: command.origin, name: command.name });
        const mount = await client.mount({ device: command.name });
        await writeFile(`${mount.path}/first`, "x");
        return mount;
      });
      const gone = await timed(async () => {
        await ready.of.release();
        await client.remove({ name: command.name });
      });
      return [ready.ms, gone.ms];
    }
    case "remove":
      return [(await timed(() => client.remove({ name: command.name }))).ms];
    case "get":
      return [(await timed(() => client.get({ name: command.name }))).ms];
    case "many": {
      const { origin, prefix, count, atATime } = command;
      const inLanes = async (
        each: (of: Client, name: string) => Promise<unknown>,
      ): Promise<void> => {
        let next = 0;
        const lane = async (of: Client): Promise<void> => {
          for (let index = next++; index < count; index = next++) {
            await each(of, `${prefix}${index}`);
          }
        };
        await Promise.all(
          Array.from({ length: atATime }, (_, index) =>
            lane(clients[index % clients.length] ?? client),
          ),
        );
      };
      const made = await timed(() => inLanes((of, name) => of.clone({ origin, name })));
      const gone = await timed(() => inLanes((of, name) => of.remove({ name })));
      return [made.ms, gone.ms];
    }
    default:
      throw new Error("no such command");
  }
}

process.setgroups?.([Number(gid)]);
process.setgid?.(Number(gid));
process.setuid?.(Number(uid));
await using stack = new AsyncDisposableStack();
const clients: Client[] = [];
for (let index = 0; index < Number(connections); index += 1) {
  clients.push(stack.use(await connect({ socketPath, timeoutMs: TIMEOUT_MS })));
}
process.stdout.write("[]\n");
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as UserCommand, clients))}\n`);
}

/**
 * An attacker without privileges: run by attacks-protocol.test.ts as
 * `attacks-protocol-user.ts UID GID SOCKET SCENARIO`, prints one line of JSON. It starts as root only
 * so that it can read this repository, and gives that up before it connects.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import type { Socket } from "node:net";
import { createConnection } from "node:net";
import { MAX_REQUEST_BYTES, encodeRequest } from "@thinpool/protocol";
import { ThinpoolError, connect } from "@thinpool/sdk";
import { RawReader, frameHead, openRaw, textFrame } from "./raw-websocket.ts";

const [uid = "", gid = "", socketPath = "", scenario = ""] = process.argv.slice(2);
const TINY_REQUESTS = 100_000;
const HALF_OPEN = 1_000;
const MAX_UNSENT_BYTES = 64 * 1024;
/** More than the kernel and the daemon's side take of one who does not read. */
const MAX_KEPT_BYTES = 8 * 1024 * 1024;
const ASKED_AT_ONCE = 500;
const DEPTH = 30_000;
const GUESSES = 200;
const WAIT_MS = 120_000;

function dropPrivileges(): void {
  process.setgroups?.([Number(gid)]);
  process.setgid?.(Number(gid));
  process.setuid?.(Number(uid));
  assert.throws(() => process.setuid?.(0), { code: "EPERM" });
}

async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "done";
  } catch (error) {
    if (error instanceof ThinpoolError) return error.code;
    throw error;
  }
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Until the kernel has taken all that was written, and what has come was read. */
async function written(socket: Socket): Promise<void> {
  do await pause(1);
  while (socket.writableLength > 0 && !socket.destroyed);
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.destroyed) await once(socket, "close", { signal: AbortSignal.timeout(WAIT_MS) });
}

async function codeOf(text: string): Promise<unknown> {
  const socket = await openRaw(socketPath);
  const { promise, resolve } = Promise.withResolvers<string>();
  const reader = new RawReader(socket, (answer) => {
    const parsed = JSON.parse(answer) as { id?: unknown; error?: { data: { code: string } } };
    if (parsed.id !== undefined) resolve(parsed.error?.data.code ?? "done");
  });
  socket.once("close", () => resolve(`closed ${reader.closeCode}`));
  socket.write(textFrame(text));
  const code = await promise;
  socket.destroy();
  return code;
}

function rawRequest(method: string, params: unknown): string {
  return JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
}

const scenarios: Readonly<Record<string, () => Promise<unknown>>> = {
  /** Another's device by name, by guess, by a token that is for another, or is over. */
  async another() {
    const { TOKEN_FOR_OTHER: other = "", TOKEN_REVOKED: revoked = "" } = process.env;
    await using client = await connect({ socketPath, timeoutMs: WAIT_MS });
    const guesses = new Set<string>();
    for (let count = 0; count < GUESSES; count += 1) {
      const reference = crypto.randomUUID();
      guesses.add(await outcome(client.release({ reference })));
      guesses.add(await outcome(client.get({ name: `theirs-${count}` })));
    }
    const steal = (token?: string): Promise<string> =>
      outcome(
        client.clone({
          origin: "theirs",
          name: "stolen",
          ...(token === undefined ? {} : { token }),
        }),
      );
    return {
      get: await outcome(client.get({ name: "theirs" })),
      mount: await outcome(client.mount({ device: "theirs" })),
      remove: await outcome(client.remove({ name: "theirs" })),
      clone: await steal(),
      tokenForOther: await steal(other),
      tokenRevoked: await steal(revoked),
      tokenGuessed: await steal("A".repeat(43)),
      publish: await outcome(client.rights.publish({ name: "theirs" })),
      test: await outcome(client.rights.test({ user: 0, verb: "admin" })),
      behalf: await outcome(client.clone({ origin: "base", name: "x", onBehalfOf: 1000 })),
      behalfOfRoot: await outcome(client.clone({ origin: "base", name: "x", onBehalfOf: 0 })),
      giveAway: await outcome(
        client.rights.createToken({ device: "theirs", allow: ["clone"], lifetimeMs: 60_000 }),
      ),
      guesses: [...guesses],
      list: (await client.list()).map(({ name }) => name),
    };
  },

  /** What no schema lets pass. */
  async malformed() {
    const names = ["..", "a/../b", "a\0b", "a\nb", "a,b", "/dev/sda", "x".repeat(65)];
    const codes = [];
    for (const name of names) codes.push(await codeOf(rawRequest("device.get", { name })));
    const deep = `${"[".repeat(DEPTH)}${"]".repeat(DEPTH)}`;
    const oversized = await openRaw(socketPath);
    const reader = new RawReader(oversized, () => undefined);
    oversized.write(frameHead(2 ** 40));
    oversized.write("x".repeat(1024));
    await closed(oversized);
    return {
      names: [...new Set(codes)],
      deep: await codeOf(
        `{"jsonrpc":"2.0","id":1,"method":"device.get","params":{"name":${deep}}}`,
      ),
      deepId: await codeOf(`{"jsonrpc":"2.0","id":${deep},"method":"device.list"}`),
      large: await codeOf(" ".repeat(MAX_REQUEST_BYTES + 1)),
      oversized: reader.closeCode,
      prototype: await codeOf('{"jsonrpc":"2.0","id":1,"method":"__proto__","params":{}}'),
    };
  },

  /** As many small requests as fit, without waiting; each must be answered. */
  async flood() {
    const socket = await openRaw(socketPath);
    const codes: Record<string, number> = {};
    let answers = 0;
    const { promise, resolve } = Promise.withResolvers<string>();
    void new RawReader(socket, (text) => {
      const { id, error } = JSON.parse(text) as {
        id?: unknown;
        error?: { data: { code: string } };
      };
      if (id === undefined) return;
      const code = error?.data.code ?? "done";
      codes[code] = (codes[code] ?? 0) + 1;
      answers += 1;
      if (answers === TINY_REQUESTS) resolve("all answered");
    });
    socket.once("close", () => resolve("cut"));
    for (let id = 1; id <= TINY_REQUESTS && !socket.destroyed; id += 1) {
      socket.write(textFrame(encodeRequest(id, "mount.list", {})));
      // It reads what comes, else it would only be cut as one that does not.
      if (id % ASKED_AT_ONCE === 0) await written(socket);
    }
    const end = await promise;
    socket.destroy();
    return { end, codes: Object.keys(codes).toSorted() };
  },

  /** Asks and never reads: the daemon must not keep it all. */
  async slowReader() {
    const socket = await openRaw(socketPath);
    socket.pause();
    let asked = 0;
    while (!socket.destroyed && asked < TINY_REQUESTS) {
      asked += 1;
      socket.write(textFrame(encodeRequest(asked, "device.list", {})));
      if (socket.writableLength > MAX_UNSENT_BYTES) await pause(1);
      if (socket.writableLength > MAX_KEPT_BYTES) break;
    }
    socket.resume();
    await closed(socket);
    return "cut";
  },

  /** Connections of which nothing comes. */
  async halfOpen() {
    const sockets: Socket[] = [];
    let refused = 0;
    for (let count = 0; count < HALF_OPEN; count += 1) {
      const socket = createConnection(socketPath);
      socket.on("error", () => {
        // The kernel's queue is full, or the daemon has cut it.
      });
      socket.on("data", (data: Buffer) => {
        if (data.toString("latin1").startsWith("HTTP/1.1 503 ")) refused += 1;
      });
      sockets.push(socket);
      if (count % 50 === 49) await pause(10);
    }
    await Promise.all(sockets.map(closed));
    return {
      someRefused: refused >= HALF_OPEN / 2,
      open: sockets.filter((s) => !s.destroyed).length,
    };
  },

  /** Kills the process that serves it, in the middle of a call. */
  async killWorker() {
    const client = await connect({ socketPath, timeoutMs: WAIT_MS });
    const call = outcome(client.clone({ origin: "base", name: "half" }));
    const killed: string[] = [];
    for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      if (!commandLine.includes("worker-main")) continue;
      try {
        process.kill(Number(pid), "SIGKILL");
        killed.push("killed");
      } catch (error) {
        killed.push(error instanceof Error && "code" in error ? String(error.code) : "?");
      }
    }
    const ended = await call;
    await client.close();
    return { ended, killed: killed.toSorted() };
  },
};

dropPrivileges();
const run = scenarios[scenario];
assert.ok(run !== undefined, `no scenario ${scenario}`);
process.stdout.write(`${JSON.stringify(await run())}\n`);
process.exit(0);

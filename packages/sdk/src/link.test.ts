import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { encodeNotification } from "@thinpool/protocol";
import { connectBy } from "./client.ts";
import type { Connection, ConnectionListener, Dialler } from "./connection.ts";

const HELLO = encodeNotification({
  method: "hello",
  params: {
    protocol: "thinpool.v1",
    version: "0.0.0",
    features: [],
    limits: {
      requestBytes: 65_536,
      responseBytes: 4_194_304,
      requestsInFlight: 64,
      heartbeatIntervalMs: 15_000,
      idempotencyKeyLifetimeMs: 86_400_000,
      idempotencyKeys: 4_096,
    },
    session: { id: crypto.randomUUID(), secret: "s".repeat(43), graceMs: 30_000 },
  },
});

/** It says its hello, and nothing else. */
class Line implements Connection {
  readonly hearsPings = false;
  #listener: ConnectionListener | undefined;
  #isNew = true;

  listen(listener: ConnectionListener): void {
    this.#listener = listener;
    if (this.#isNew) listener.message(HELLO);
    this.#isNew = false;
  }

  send(): void {
    // Nobody answers.
  }

  cut(reason: string): void {
    this.#listener?.lost(reason);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

test("who closes a client that is reconnecting ends the attempt, too", async () => {
  const first = new Line();
  const second = Promise.withResolvers<AbortSignal | undefined>();
  let dials = 0;
  const dialler: Dialler = {
    address: "test",
    dial: ({ signal }) => {
      dials += 1;
      if (dials === 1) return Promise.resolve(first);
      second.resolve(signal);
      // A daemon that takes the call and says nothing.
      return new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => reject(new Error("given up")));
      });
    },
  };
  const client = await connectBy(dialler, {});
  first.cut("the daemon was stopped");
  const signal = await second.promise;
  assert.equal(signal?.aborted, false);
  await client.close();
  assert.equal(signal.aborted, true);
  assert.equal(client.state, "closed");
});

test("a listener that throws is reported as uncaught, and changes nothing for the client", async () => {
  // In a process of its own: what nobody catches ends a test.
  const script = `
    import { startTestingDaemon } from "@thinpool/sdk/testing";
    process.on("uncaughtException", (error) => console.log(error.message));
    await using daemon = await startTestingDaemon();
    const client = await daemon.connect();
    const states = [];
    client.onState((state) => {
      throw new Error("of a listener: " + state);
    });
    client.onState((state) => void states.push(state));
    await daemon.restart();
    console.log((await client.list()).length, "device");
    await client.close();
    console.log(client.state, states.join(" "));`;
  const flags = ["--conditions=source", "--input-type=module-typescript", "--eval", script];
  const options = { cwd: import.meta.dirname, timeout: 20_000 };
  const { stdout } = await promisify(execFile)(process.execPath, flags, options);
  assert.deepEqual(stdout.trim().split("\n"), [
    "of a listener: reconnecting",
    "of a listener: connected",
    "1 device",
    "of a listener: closed",
    "closed reconnecting connected closed",
  ]);
});

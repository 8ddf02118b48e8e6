/** A daemon that lets clients in over TCP, on the simulated kernel, and what its clients need. */
import assert from "node:assert/strict";
import type { Daemon } from "@thinpool/mount-helper";
import type { Client } from "@thinpool/sdk";
import { connect } from "@thinpool/sdk";
import type { CertificateFiles } from "./certificate.ts";
import { makeCertificate } from "./certificate.ts";
import type { World } from "./sim-world.ts";
import { world } from "./sim-world.ts";

export const HOUR_MS = 3_600_000;
/** Whose pages may connect. */
export const ORIGIN = "https://ci.example.org";

export interface Remote extends AsyncDisposable {
  readonly world: World;
  readonly port: number;
  readonly certificate: CertificateFiles;
  readonly local: Client;
  readonly url: string;
  daemon: Daemon;
  token(lifetimeMs?: number): Promise<{ readonly id: string; readonly secret: string }>;
  connect(token: string): Promise<Client>;
  events(event: string): readonly Readonly<Record<string, unknown>>[];
  restart(): Promise<void>;
}

/** The client `local` comes by the socket. `policyOf` gives the policy file's path. */
export async function remote(
  policyOf: (world: World) => Promise<string | undefined> = () => Promise.resolve(undefined),
): Promise<Remote> {
  await using undo = new AsyncDisposableStack();
  const w = undo.use(await world());
  const certificate = await makeCertificate(w.parent);
  const policyFile = await policyOf(w);
  const at = (port: number) => ({
    ...(policyFile === undefined ? {} : { policyFile }),
    tcp: { address: { host: "127.0.0.1", port }, ...certificate, origins: [ORIGIN] },
  });
  const self: { daemon: Daemon } = { daemon: await w.start(at(0)) };
  undo.defer(() => self.daemon.stop({ teardown: true }));
  const port = self.daemon.tcpPort ?? assert.fail();
  const local = undo.use(await w.connect());
  const url = `wss://127.0.0.1:${port}`;
  const parts = undo.move();
  return Object.assign(self, {
    world: w,
    port,
    certificate,
    local,
    url,
    token: (lifetimeMs = HOUR_MS) => local.rights.createConnectToken({ lifetimeMs }),
    connect: (token: string) =>
      connect({ url, token, ca: certificate.certificate, timeoutMs: 5_000 }),
    events: (event: string) =>
      w.log
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter((fields) => fields["event"] === event),
    restart: async () => {
      await self.daemon.stop();
      self.daemon = await w.start(at(port));
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  });
}

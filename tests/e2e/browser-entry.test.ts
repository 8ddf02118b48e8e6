/** The browser's entry with the platform's WebSocket (Node has one too), over TCP, through a bridge. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { connect, hasCode } from "@thinpool/sdk/browser";
import { CuttingProxy } from "./cutting-proxy.ts";
import { world } from "./sim-world.ts";
import { remote } from "./tcp-world.ts";

test("the whole client works over the platform's WebSocket, cuts included", async () => {
  await using w = await world();
  await using daemon = await w.start();
  await using proxy = await CuttingProxy.listen(daemon.socketPath, { host: "127.0.0.1", port: 0 });
  await using client = await connect({ url: proxy.url });
  const states: string[] = [];
  client.onState((state) => states.push(state));
  proxy.arm({ index: 0, direction: "to-client", when: "before" });
  const clone = await client.clone({ origin: "base", name: "one" });
  assert.equal(proxy.cuts, 1);
  assert.deepEqual(states, ["reconnecting", "connected"]);
  assert.deepEqual(
    (await client.list()).map(({ name }) => name),
    ["base", "one"],
  );
  await clone.remove();
  await assert.rejects(clone.remove(), (error) => hasCode(error, "NOT_FOUND"));
});

test("no daemon, no such address", async () => {
  const unreachable = connect({ url: "ws://127.0.0.1:1/" });
  await assert.rejects(unreachable, (error) => hasCode(error, "DAEMON_UNREACHABLE"));
  const misspelt = connect({ url: "tcp://127.0.0.1" });
  await assert.rejects(misspelt, (error) => hasCode(error, "ARGUMENT_INVALID"));
});

test("a page shows its token as a subprotocol, and hears when it has ended", async (t) => {
  await using r = await remote();
  const trusted = getCACertificates();
  t.after(() => setDefaultCACertificates(trusted));
  setDefaultCACertificates([r.certificate.certificate]);
  const { id, secret: token } = await r.token();
  await using client = await connect({ url: r.url, token });
  assert.equal((await client.rights.whoAmI()).uid, process.getuid?.());
  const { promise: gone, resolve } = Promise.withResolvers<undefined>();
  client.onState((state) => {
    if (state === "gone") resolve(undefined);
  });
  await r.local.rights.revokeToken({ id });
  await gone;
  await assert.rejects(client.rights.whoAmI(), (error) => hasCode(error, "UNAUTHORIZED"));
  const again = connect({ url: r.url, token });
  await assert.rejects(again, (error) => hasCode(error, "DAEMON_UNREACHABLE"));
  for (const wrong of [
    { url: r.url, token: "short" },
    { url: "ws://192.0.2.1:7474", token },
  ]) {
    await assert.rejects(connect(wrong), (error) => hasCode(error, "ARGUMENT_INVALID"));
  }
});

/**
 * Clients over TCP where users are real: the gateway is nobody who may anything, and who comes by a token
 * is the user that it stands for, though it is root who holds it. Run as root in the lab.
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "@thinpool/sdk";
import { linuxKernel } from "@thinpool/thinpool";
import { makeCertificate } from "../e2e/certificate.ts";
import { daemonProcess } from "./daemon-process.ts";

/** Of the account's reserved number, where the guest has no account of the gateway's name. */
const GATEWAY_UID = 65_532;
const UID = 1000;
const PORT = 7474;
const HOUR_MS = 3_600_000;
/** The guest has one CPU, and starts Node for each user. */
const TIMEOUT_MS = 120_000;

test("a gateway without privileges lets a token's bearer in as its user, who mounts a clone", async (t) => {
  const place = await mkdtemp("/tmp/thinpool-tcp-");
  t.after(() => rm(place, { recursive: true }));
  const { certificate, certificateFile, keyFile } = await makeCertificate(place);
  const more = ["--tcp", `127.0.0.1:${PORT}`];
  more.push("--tls-certificate", certificateFile, "--tls-key", keyFile);
  await using kernel = linuxKernel();
  await using daemon = await daemonProcess(kernel, { more });
  await using root = await connect({ socketPath: daemon.socketPath });
  const { id, secret } = await root.rights.createConnectToken({ uid: UID, lifetimeMs: HOUR_MS });
  const target = { url: `wss://127.0.0.1:${PORT}`, ca: certificate, timeoutMs: TIMEOUT_MS };
  const client = await connect({ ...target, token: secret });

  const ready = daemon.log().match(/^.*"gateway-ready".*$/m)?.[0] ?? assert.fail(daemon.log());
  const { pid } = JSON.parse(ready) as { readonly pid: number };
  for (const thread of [`/proc/${pid}`, `/proc/${pid}/task/${pid}`]) {
    const status = await readFile(join(thread, "status"), "utf8");
    const ids = Array.from({ length: 4 }, () => GATEWAY_UID).join("\t");
    assert.match(status, new RegExp(`^Uid:\t${ids}$`, "m"));
    assert.match(status, new RegExp(`^Gid:\t${ids}$`, "m"));
    assert.match(status, /^Groups:\t *$/m);
    // What is inheritable is worth nothing with an empty bounding set, and stays from the start.
    for (const set of ["Prm", "Eff", "Bnd", "Amb"]) {
      assert.match(status, new RegExp(`^Cap${set}:\t0{16}$`, "m"), set);
    }
    assert.match(status, /^NoNewPrivs:\t1$/m);
  }

  assert.equal((await client.rights.whoAmI()).uid, UID);
  await assert.rejects(client.create({ name: "mine" }), { code: "FORBIDDEN" });
  await assert.rejects(client.remove({ name: "base" }), { code: "FORBIDDEN" });
  const clone = await client.clone({ origin: "base", name: "remote" });
  const mount = await clone.mount();
  assert.equal(mount.path, `/run/thinpool/mounts/${UID}/remote`);
  assert.equal((await stat(mount.path)).uid, UID);
  assert.equal((await root.get({ name: "remote" })).ownerUid, UID);
  await mount.release();
  await clone.remove();

  const { promise: gone, resolve } = Promise.withResolvers<undefined>();
  client.onState((state) => {
    if (state === "gone") resolve(undefined);
  });
  await root.rights.revokeToken({ id });
  await gone;
  await assert.rejects(connect({ ...target, token: secret }), { code: "UNAUTHORIZED" });
  assert.ok(!daemon.log().includes(secret));
  await client.close();
});

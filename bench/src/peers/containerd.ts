/** containerd's devmapper snapshotter through containerd's own socket: Prepare from a committed parent. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Kernel } from "@thinpool/thinpool";
import { makeRawPool } from "../raw-pool.ts";
import { DEVICE_BYTES } from "../sizes.ts";
import { GrpcClient, mapField, stringField } from "./grpc.ts";
import { type Peer, timed } from "./peer.ts";

const SNAPSHOTTER = "devmapper";
const SERVICE = "/containerd.services.snapshots.v1.Snapshots";
const PARENT = "image";
const START_TIMEOUT_MS = 60_000;
const POLL_MS = 100;

/** Only what is measured: no CRI, no tasks. */
function config(folder: string, poolName: string): string {
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${folder}/containerd.sock"
[plugins."io.containerd.snapshotter.v1.devmapper"]
  root_path = "${folder}/devmapper"
  pool_name = "${poolName}"
  base_image_size = "${DEVICE_BYTES >> 20n}MB"
  fs_type = "ext4"
`;
}

export async function containerdPeer(kernel: Kernel, parent: string): Promise<Peer> {
  const folder = `${parent}/containerd`;
  const pool = await makeRawPool(kernel, folder, "bench-containerd");
  mkdirSync(`${folder}/state`, { recursive: true });
  writeFileSync(`${folder}/config.toml`, config(folder, pool.name));
  const log = openSync(`${folder}/log`, "w");
  const daemon = spawn("containerd", ["--config", `${folder}/config.toml`], {
    stdio: ["ignore", log, log],
  });
  const socketPath = `${folder}/containerd.sock`;
  const logged = (): string => readFileSync(`${folder}/log`, "utf8");
  for (let waitedMs = 0; !existsSync(socketPath) || !logged().includes("successfully booted");) {
    if (waitedMs > START_TIMEOUT_MS || daemon.exitCode !== null) {
      throw new Error(`containerd did not start:\n${logged()}`);
    }
    await sleep(POLL_MS);
    waitedMs += POLL_MS;
  }
  const client = new GrpcClient(socketPath, { "containerd-namespace": "bench" });
  const keep = mapField(4, "containerd.io/gc.root", "bench");
  const prepare = (key: string, from: string): Promise<void> =>
    client.call(
      `${SERVICE}/Prepare`,
      ...[stringField(1, SNAPSHOTTER), stringField(2, key), stringField(3, from), keep],
    );
  await prepare("base", "");
  await client.call(
    `${SERVICE}/Commit`,
    ...[stringField(1, SNAPSHOTTER), stringField(2, PARENT), stringField(3, "base"), keep],
  );
  let made = 0;
  return {
    name: "containerd",
    snapshot: () => {
      made += 1;
      return timed(() => prepare(`s${made}`, PARENT));
    },
    // Its Remove only marks: the device goes later, by the garbage collection, and that is not timed.
    remove: () => Promise.resolve(undefined),
    async close() {
      for (let index = made; index > 0; index -= 1) {
        await client.call(
          `${SERVICE}/Remove`,
          ...[stringField(1, SNAPSHOTTER), stringField(2, `s${index}`)],
        );
      }
      client[Symbol.dispose]();
      daemon.kill("SIGKILL");
      await once(daemon, "exit");
    },
  };
}

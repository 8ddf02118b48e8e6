/** The engine, called as any program of root's calls it. */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { createPool, type Kernel, type ThinPool } from "@thinpool/thinpool";
import { BLOCK_SECTORS, DATA_BYTES, DEVICE_BYTES, METADATA_BYTES } from "../sizes.ts";
import { type Peer, timed } from "./peer.ts";

export const BASE = "base";

/** A pool with an ext4 base in it. */
export async function makeEnginePool(kernel: Kernel, folder: string): Promise<ThinPool> {
  mkdirSync(dirname(folder), { recursive: true });
  const pool = await createPool({
    folder,
    kernel,
    backing: { type: "files", dataBytes: DATA_BYTES, metadataBytes: METADATA_BYTES },
    blockSectors: BLOCK_SECTORS,
  });
  await pool.createDevice({ name: BASE, sizeBytes: DEVICE_BYTES, filesystem: "ext4" });
  return pool;
}

export async function enginePeer(kernel: Kernel, folder: string): Promise<Peer> {
  const pool = await makeEnginePool(kernel, `${folder}/engine`);
  let made = 0;
  return {
    name: "engine",
    snapshot: () => {
      made += 1;
      return timed(() => pool.snapshot({ origin: BASE, name: `s${made}`, activate: true }));
    },
    remove: () => timed(() => pool.remove({ name: `s${made}` })),
    close: () => pool.close(),
  };
}

/** The peers that work on a raw pool: the C program, and processes of dmsetup. */
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import type { Kernel } from "@thinpool/thinpool";
import { makeRawBase, makeRawPool } from "../raw-pool.ts";
import { DEVICE_BYTES } from "../sizes.ts";
import type { Bare } from "./bare.ts";
import type { Peer } from "./peer.ts";

const SECTORS = DEVICE_BYTES / SECTOR_SIZE_BYTES;
const DMSETUP = "/sbin/dmsetup";

/** The very ioctls and nothing around them: the limit. */
export function barePeer(kernel: Kernel, folder: string, bare: Bare): Promise<Peer> {
  return cPeer({ kernel, folder, bare, name: "c" });
}

/** The same by a program that keeps a durable record and holds no event loop: the limit of any such. */
export function recordingPeer(kernel: Kernel, folder: string, bare: Bare): Promise<Peer> {
  return cPeer({ kernel, folder, bare, name: "c-recording", recordIn: `${folder}/c-log` });
}

async function cPeer(options: {
  readonly kernel: Kernel;
  readonly folder: string;
  readonly bare: Bare;
  readonly name: Peer["name"];
  readonly recordIn?: string;
}): Promise<Peer> {
  const { kernel, folder, bare, name: peer, recordIn } = options;
  const pool = await makeRawPool(kernel, `${folder}/${peer}`, `bench-${peer}`);
  await makeRawBase(kernel, pool);
  const device = () => ({ id: pool.nextId, uuid: `BENCH-${peer}-${pool.nextId}` });
  return {
    name: peer,
    async snapshot() {
      pool.nextId += 1;
      const { id, uuid } = device();
      const { uuid: poolUuid, transactionId, dev: poolDev } = pool;
      const name = `bench-${peer}-${id}`;
      const ms = await bare.snap({
        ...{ poolUuid, originId: 0, id, transactionId, poolDev, sectors: SECTORS, name, uuid },
        recordIn,
      });
      pool.transactionId += 1n;
      return ms;
    },
    async remove() {
      const { transactionId, uuid: poolUuid } = pool;
      const ms = await bare.drop({ ...device(), poolUuid, transactionId });
      pool.transactionId += 1n;
      return ms;
    },
    close: async () => pool[Symbol.asyncDispose](),
  };
}

/** Three processes each way; started by the C program, since a large process forks slowly. */
export async function dmsetupPeer(kernel: Kernel, folder: string, bare: Bare): Promise<Peer> {
  const pool = await makeRawPool(kernel, `${folder}/dmsetup`, "bench-dmsetup");
  await makeRawBase(kernel, pool);
  const name = (): string => `bench-dmsetup-${pool.nextId}`;
  const message = (text: string): Promise<number> =>
    bare.spawn(DMSETUP, "message", pool.name, "0", text);
  const nextTransaction = async (): Promise<number> => {
    const { transactionId: now } = pool;
    const ms = await message(`set_transaction_id ${now} ${now + 1n}`);
    pool.transactionId += 1n;
    return ms;
  };
  return {
    name: "dmsetup",
    async snapshot() {
      pool.nextId += 1;
      const table = `0 ${SECTORS} thin ${pool.dev} ${pool.nextId}`;
      const made = await message(`create_snap ${pool.nextId} 0`);
      const active = await bare.spawn(DMSETUP, "create", name(), "--table", table);
      return made + active + (await nextTransaction());
    },
    async remove() {
      const gone = await bare.spawn(DMSETUP, "remove", name());
      const deleted = await message(`delete ${pool.nextId}`);
      return gone + deleted + (await nextTransaction());
    },
    close: async () => pool[Symbol.asyncDispose](),
  };
}

/** The peers that work on a raw pool: the C program, and processes of dmsetup. */
import { SECTOR_SIZE_BYTES } from "@thinpool/dm-native";
import type { Kernel } from "@thinpool/thinpool";
import { makeRawBase, makeRawPool } from "../raw-pool.ts";
import { DEVICE_BYTES } from "../sizes.ts";
import type { Bare } from "./bare.ts";
import type { Peer } from "./peer.ts";

const SECTORS = DEVICE_BYTES / SECTOR_SIZE_BYTES;
const DMSETUP = "/sbin/dmsetup";

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The very ioctls and nothing around them: the limit. */
export async function barePeer(kernel: Kernel, folder: string, bare: Bare): Promise<Peer> {
  const pool = await makeRawPool(kernel, `${folder}/c`, "bench-c");
  await makeRawBase(kernel, pool);
  const device = () => ({ id: pool.nextId, uuid: `BENCH-c-${pool.nextId}` });
  return {
    name: "c",
    async snapshot() {
      pool.nextId += 1;
      const { id, uuid } = device();
      const { uuid: poolUuid, transactionId, dev: poolDev } = pool;
      const name = `bench-c-${id}`;
      const steps = await bare.snap({
        ...{ poolUuid, originId: 0, id, transactionId, poolDev, sectors: SECTORS, name, uuid },
      });
      pool.transactionId += 1n;
      return sum(steps) / 1e6;
    },
    async remove() {
      const { transactionId, uuid: poolUuid } = pool;
      const steps = await bare.drop({ ...device(), poolUuid, transactionId });
      pool.transactionId += 1n;
      return sum(steps) / 1e6;
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

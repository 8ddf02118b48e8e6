import { dmNodePath } from "@thinpool/dm-native";
import { releaseBacking } from "../backing.ts";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";
import { isNative, poolErrorFrom } from "../errors-from-native.ts";
import { isSick } from "../health/sick-pool.ts";
import { poolStateOf } from "../tables.ts";
import { transition } from "../transition.ts";
import { withUndo } from "../undo.ts";

/** DEVICE_BUSY, and nothing is taken down, while a device is in use. Closing twice is fine. */
export function close(engine: Engine): Promise<void> {
  return engine.exclusive(async () => {
    if (engine.life.state === "closed") return;
    await engine.space.stop();
    try {
      const clean = await tearDown(engine);
      // Last: a crash before this only makes the next open check once more.
      if (clean) engine.ledger.health.setCleanStop(true);
    } catch (error) {
      engine.space.start();
      throw poolErrorFrom(error, { operation: "close", object: engine.folder });
    }
    engine.release("close");
  });
}

export function detach(engine: Engine): Promise<void> {
  return engine.exclusive(async () => {
    if (engine.life.state === "closed") return;
    await engine.space.stop();
    await engine.metadataSnapshot.shutDown();
    engine.release("detach");
  });
}

/** Thins, pool, loops; true where nothing was wrong with the pool, nor is in doubt. Each step takes "gone already" for done, so close can be called again. */
async function tearDown(engine: Engine): Promise<boolean> {
  const { kernel, ledger, pool, thins, states, backing } = engine;
  const live = await thins.live();
  const used = live.find(({ info }) => info.openCount > 0);
  if (used !== undefined) {
    throw new PoolError({
      code: "DEVICE_BUSY",
      operation: "close",
      object: ledger.byUuid(used.deviceUuid, engine.transactionId)?.name ?? used.info.name,
      reason: `it is open or mounted (${used.info.openCount} times)`,
      hint: `Unmount it first; findmnt and fuser -vm ${dmNodePath(used.info.name)} show who has it.`,
    });
  }
  await engine.metadataSnapshot.shutDown();
  // Of a pool in doubt opening is to check, and its ledger is not written to.
  const clean = engine.life.state === "open" && (await isHealthy(engine));
  await withUndo(async (undo) => {
    for (const { deviceUuid } of live) {
      await thins.deactivate(deviceUuid);
      states.set(deviceUuid, "inactive");
      const record = ledger.byUuid(deviceUuid, engine.transactionId);
      if (record === undefined) continue;
      undo.push(`activating ${record.name} again`, () =>
        transition(states, record, "activate", () => thins.activate(record)),
      );
    }
    await pool.remove();
  });
  await releaseBacking(kernel, backing);
  return clean;
}

/** False where the kernel complains, and where the pool's device is gone: the next open checks. */
async function isHealthy(engine: Engine): Promise<boolean> {
  try {
    return !isSick(poolStateOf(await engine.pool.status()));
  } catch (error) {
    if (isNative(error, "NATIVE_NOT_FOUND")) return false;
    throw error;
  }
}

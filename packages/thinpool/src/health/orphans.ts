/** Thin devices that no record explains: never touched unasked (INV-4), removed when asked to. */
import { thinId } from "@thinpool/dm-native";
import type { Engine } from "../engine.ts";
import { PoolError } from "../errors.ts";

/**
 * Deletes a thin device that `check` called an orphan; its id is free again. One step of the kernel's,
 * so a crash leaves it there or gone. POOL_OPTION_INVALID where a record explains that id, DEVICE_BUSY
 * while somebody has it active. One that is not there (any more) is fine.
 */
export function removeOrphan(
  engine: Engine,
  options: { readonly thinId: number },
): Promise<{ readonly outcome: "removed" }> {
  const object = `thin id ${options.thinId}`;
  return engine.change("removal of an orphan", object, async () => {
    const id = thinId(options.thinId);
    const owner = engine.ledger.rows().find((record) => record.thinId === id);
    if (owner !== undefined) {
      throw new PoolError({
        code: "POOL_OPTION_INVALID",
        operation: "removal of an orphan",
        object,
        reason: `it is no orphan: it belongs to ${owner.name}`,
        hint: "Remove that device by its name.",
      });
    }
    await engine.pool.deleteThin(id);
    engine.ledger.forgetForeignThinId(id);
    return { outcome: "removed" as const };
  });
}

/** A pool that no daemon serves; what it answers has the daemon's types. */
import { checkPool, listBackups, readClosedPool } from "@thinpool/thinpool";
import { withKernel, withPool } from "../kernel.ts";
import type { PoolAccess } from "./pool-access.ts";

export function closedPoolAccess(folder: string): PoolAccess {
  return {
    // Without opening it: one that can't be opened is to be looked at as well.
    check: (options) =>
      withKernel(async (kernel) => {
        const report = await checkPool({ folder, kernel, ...options });
        return { ...report, findings: [...report.findings], findingsLeftOut: 0 };
      }),
    backup: ({ keep, signal }) =>
      withPool(folder, (pool) => pool.backup({ ...(keep === undefined ? {} : { keep }), signal })),
    backups: () => listBackups({ folder }),
    // It has an end soon, and no half: the signal comes to nothing.
    extend: ({ dataBytes, metadataBytes }) =>
      withPool(folder, (pool) =>
        pool.extend({
          ...(dataBytes === undefined ? {} : { dataBytes }),
          ...(metadataBytes === undefined ? {} : { metadataBytes }),
        }),
      ),
    extent: () =>
      withKernel(async (kernel) => {
        const { dataBytes, metadataBytes, backing } = await readClosedPool({ folder, kernel });
        return { dataBytes, metadataBytes, onDevices: backing === "block" };
      }),
  };
}

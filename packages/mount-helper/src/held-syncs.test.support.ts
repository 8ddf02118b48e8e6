/** To see what waits for the disk: the syncs of one of the daemon's stores, held. */
import assert from "node:assert/strict";
import fs, { readlinkSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { setImmediate } from "node:timers/promises";

/** Turns of the event loop in which whatever does not wait would have begun. */
const QUIET_TURNS = 20;

type Sync = (fd: number, done: (error: unknown) => void) => void;

function replaceSync(by: unknown): void {
  Reflect.set(fs, "fdatasync", by);
  syncBuiltinESMExports();
}

export interface HeldSyncs {
  /** The store's file. */
  readonly of: string;
  /** Called twice in each sync, with some turns of the event loop between; what it gives is to be the same. */
  readonly look: () => unknown;
  /** The number of the sync that fails, from 1 on. */
  readonly failing?: number;
}

/**
 * Runs `work`; while a sync of the store is under way nothing goes on that `look` could see, and nobody is
 * told that it has ended. Its outcome, and how many syncs there were.
 */
export async function withHeldSyncs<T>(
  { of, look, failing }: HeldSyncs,
  work: () => Promise<T>,
): Promise<{ readonly outcome: PromiseSettledResult<T>; readonly syncs: number }> {
  const { fdatasync } = fs;
  let isTold = false;
  let syncs = 0;
  const holds: Promise<void>[] = [];
  const hold = async (number: number): Promise<void> => {
    const before = look();
    for (let turn = 0; turn < QUIET_TURNS; turn += 1) await setImmediate();
    assert.deepEqual(look(), before, `something went on during sync ${number}`);
    assert.equal(isTold, false, `the caller was told during sync ${number}`);
  };
  const held: Sync = (fd, done) => {
    if (!readlinkSync(`/proc/self/fd/${fd}`).endsWith(`${of}-wal`)) {
      fdatasync(fd, done);
      return;
    }
    syncs += 1;
    const fails = syncs === failing;
    const holding = hold(syncs);
    holds.push(holding);
    const end = (): void => {
      if (fails) done(Object.assign(new Error("EIO"), { code: "EIO", errno: -5 }));
      else fdatasync(fd, done);
    };
    void holding.then(end, end);
  };
  replaceSync(held);
  try {
    const [outcome] = await Promise.allSettled([work()]);
    isTold = true;
    await Promise.all(holds);
    return { outcome, syncs };
  } finally {
    replaceSync(fdatasync);
  }
}

/** fdatasync(2) by node:fs, held until a test lets it go on. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { constants } from "node:os";

export interface HeldSyncs extends Disposable {
  /** Of those that were asked for. */
  readonly paths: readonly string[];
  /** All that are held have done well. */
  release(): void;
  /** The first that is held has failed. */
  fail(errno: "EIO" | "ENOSPC"): void;
}

export function heldSyncs(): HeldSyncs {
  const paths: string[] = [];
  const held: ((error: unknown) => void)[] = [];
  const { fdatasync } = fs;
  const replace = (by: unknown): void => {
    Reflect.set(fs, "fdatasync", by);
    syncBuiltinESMExports();
  };
  replace((fd: number, done: (error: unknown) => void) => {
    paths.push(fs.readlinkSync(`/proc/self/fd/${fd}`));
    held.push(done);
  });
  return {
    paths,
    release: () => {
      for (const done of held.splice(0)) done(null);
    },
    fail: (errno) =>
      held.shift()?.(Object.assign(new Error(errno), { errno: -constants.errno[errno] })),
    [Symbol.dispose]: () => replace(fdatasync),
  };
}

import type { SimKernel } from "@thinpool/dm-sim";
import type { Daemon, DaemonOptions } from "@thinpool/mount-helper";
import type { Client } from "@thinpool/sdk";
import { type PoolBacking } from "@thinpool/thinpool";
export declare const BACKING: PoolBacking;
export declare const DEVICE_BYTES: bigint;
export interface World extends AsyncDisposable {
  readonly kernel: SimKernel;
  readonly folder: string;
  readonly parent: string;
  readonly socketPath: string;
  readonly mountRoot: string;
  readonly log: string[];
  start(more?: Pick<DaemonOptions, "tcp" | "policyFile">): Promise<Daemon>;
  connect(): Promise<Client>;
}
/** A pool with the device "base", and a daemon and clients for it, all in this process. */
export declare function world(): Promise<World>;
//# sourceMappingURL=sim-world.d.ts.map

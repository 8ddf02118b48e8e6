/** How a device is mounted, and what keeps it so. */
import type { MethodParams } from "@thinpool/protocol";

export interface MountOptions {
  /**
   * "session" (the default): the mount goes a short time after this client does. A lease: when its time
   * to live has passed since it was taken or last renewed. "permanent": when it is released; root only.
   */
  readonly holder?:
    | { readonly type: "session" }
    | { readonly type: "lease"; readonly ttlMs: number }
    | { readonly type: "permanent" };
  /** An empty folder of one's own, absolute, where the policy allows it; else the daemon makes a place. */
  readonly folder?: string;
  /** Nothing is written to the device, the filesystem's journal included. */
  readonly readOnly?: boolean;
  /** No program can be started from the mount. */
  readonly noExec?: boolean;
  /** Symbolic links in the mount are not followed. */
  readonly noSymFollow?: boolean;
  /** "top-folder": for kernels without idmapped mounts, only the top folder becomes one's own. */
  readonly ownership?: "mapped" | "top-folder";
  /** Of another's device: its owner's leave to mount it read-only, in a place of one's own. */
  readonly token?: string;
}

/** Of a block device: what keeps it, and whether it can be written to. */
export type ActivateOptions = Pick<MountOptions, "holder" | "readOnly">;

/** As the wire has them; what else an options object holds stays behind. */
export function mountParams(options: MountOptions): Omit<MethodParams<"mount.create">, "device"> {
  const { holder, folder, readOnly, noExec, noSymFollow, ownership, token } = options;
  return {
    ...(holder === undefined ? {} : { holder }),
    ...(folder === undefined ? {} : { folder }),
    ...(readOnly === undefined ? {} : { readOnly }),
    ...(noExec === undefined ? {} : { noExec }),
    ...(noSymFollow === undefined ? {} : { noSymFollow }),
    ...(ownership === undefined ? {} : { ownership }),
    ...(token === undefined ? {} : { token }),
  };
}

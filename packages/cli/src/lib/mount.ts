/** Mounts as text, and which one `umount` means. */
import type { ErrorCode } from "@thinpool/protocol";
import type { Client, MountEntry } from "@thinpool/sdk";
import { renderTable } from "./table.ts";

export function renderMounts(mounts: readonly MountEntry[]): string {
  return renderTable<MountEntry>(
    [
      { heading: "DEVICE", value: ({ device }) => device },
      { heading: "PATH", value: ({ path }) => path },
      { heading: "OWNER", align: "right", value: ({ ownerUid }) => String(ownerUid) },
      { heading: "COUNT", align: "right", value: ({ count }) => String(count) },
      { heading: "REFERENCE", value: ({ reference }) => reference },
    ],
    mounts,
  );
}

/** A line about what a release has left; `ended`: what the last one did. */
export function renderRelease(
  { device, count }: Pick<MountEntry, "device" | "count">,
  ended: string,
): string {
  return `${device}: ${count === 0 ? ended : `references left: ${count}`}`;
}

const REFERENCE = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * The reference that `umount DEVICE|REFERENCE` means. A device's name means the last of the caller's
 * own references to it; root gives the reference itself to release another user's. A name in the
 * form of a uuid is taken for a reference.
 */
export async function referenceMeant(
  { operation, what }: { readonly operation: string; readonly what: string },
  client: Pick<Client, "mounts" | "rights">,
): Promise<string> {
  if (REFERENCE.test(what)) return what;
  // Who the caller is the daemon says: over TCP and out of a container he is another than here.
  const [mounts, { uid }] = await Promise.all([client.mounts(), client.rights.whoAmI()]);
  const held = mounts.findLast(({ device, ownerUid }) => device === what && ownerUid === uid);
  if (held === undefined) throw new NotMountedError(operation, what);
  return held.reference;
}

/** Like the daemon's NOT_MOUNTED, for a device of which it was not even asked. */
class NotMountedError extends Error {
  readonly code: ErrorCode = "NOT_MOUNTED";
  readonly operation: string;
  readonly object: string;
  readonly reason = "you hold no reference to it";
  readonly hint = "Run `thinpool mounts` to see which references you hold.";

  constructor(operation: string, device: string) {
    super(`${device} is not mounted by you`);
    this.operation = operation;
    this.object = JSON.stringify(device);
  }
}

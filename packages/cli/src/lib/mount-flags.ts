/** The flags of what mounts, and the options that they mean. */
import { Flags } from "@oclif/core";
import type { Client, MountOptions } from "@thinpool/sdk";
import { durationFlag, tokenFlag } from "./flags.ts";
import { parsePath } from "./path.ts";

/** This program ends at once, so its session can't hold the mount. */
const USER_LEASE_MS = 24 * 60 * 60 * 1000;

/** Of all that takes a reference. */
export const activateFlags = {
  lease: durationFlag({
    summary: "Let it end by itself after this time; without it a user's end after a day.",
    exclusive: ["permanent"],
  }),
  permanent: Flags.boolean({
    summary: "Keep it until it is released, also over a reboot; without it only root's are kept.",
  }),
  "read-only": Flags.boolean({ summary: "Write nothing to the device." }),
};

export const mountFlags = {
  ...activateFlags,
  at: Flags.string({
    summary: "An empty folder of your own to mount on, where the policy lets you.",
    helpValue: "FOLDER",
    parse: async (path) => parsePath(path),
  }),
  "no-exec": Flags.boolean({ summary: "Let no program be started from the mount." }),
  "no-symlinks": Flags.boolean({ summary: "Follow no symbolic link in the mount." }),
  token: tokenFlag,
};

export interface HolderFlags {
  readonly lease: number | undefined;
  readonly permanent: boolean;
}

export interface MountFlags extends HolderFlags {
  readonly at: string | undefined;
  readonly "read-only": boolean;
  readonly "no-exec": boolean;
  readonly "no-symlinks": boolean;
}

/**
 * Without a word about it root's references are permanent, and a user's a lease of a day. Whom the daemon takes
 * for root it says itself: over TCP one is the token's user, and in a container root is a user outside.
 */
export async function holderMeant(
  { lease, permanent }: HolderFlags,
  { rights }: Pick<Client, "rights">,
): Promise<NonNullable<MountOptions["holder"]>> {
  if (permanent) return { type: "permanent" };
  if (lease !== undefined) return { type: "lease", ttlMs: lease };
  const { uid } = await rights.whoAmI();
  return uid === 0 ? { type: "permanent" } : { type: "lease", ttlMs: USER_LEASE_MS };
}

export async function mountOptions(
  flags: MountFlags,
  client: Pick<Client, "rights">,
): Promise<Omit<MountOptions, "token">> {
  return {
    holder: await holderMeant(flags, client),
    ...(flags.at === undefined ? {} : { folder: flags.at }),
    ...(flags["read-only"] ? { readOnly: true } : {}),
    ...(flags["no-exec"] ? { noExec: true } : {}),
    ...(flags["no-symlinks"] ? { noSymFollow: true } : {}),
  };
}

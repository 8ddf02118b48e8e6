/** Flags of a mount as the two kernel interfaces want them: one table, pinned by a test. */
import type { MountFlags } from "./mounts.ts";

interface FlagBits {
  /** MOUNT_ATTR_* for fsmount(2): linux/mount.h. */
  readonly attribute: number;
  /** MS_* for mount(2): linux/mount.h. */
  readonly legacy: number;
  /** As mountinfo prints it. */
  readonly option: string;
}

export const FLAG_BITS: Readonly<Record<keyof MountFlags, FlagBits>> = {
  readOnly: { attribute: 0x1, legacy: 1, option: "ro" },
  noSuid: { attribute: 0x2, legacy: 2, option: "nosuid" },
  noDev: { attribute: 0x4, legacy: 4, option: "nodev" },
  noExec: { attribute: 0x8, legacy: 8, option: "noexec" },
  noSymFollow: { attribute: 0x20_0000, legacy: 256, option: "nosymfollow" },
};

function collect(flags: MountFlags, bit: "attribute" | "legacy"): number {
  let bits = 0;
  for (const name of Object.keys(FLAG_BITS) as (keyof MountFlags)[]) {
    if (flags[name] === true) bits |= FLAG_BITS[name][bit];
  }
  return bits;
}

/** For fsmount(2): `relatime` is MOUNT_ATTR's default as well as mount(2)'s. */
export function mountAttributes(flags: MountFlags): number {
  return collect(flags, "attribute");
}

/** For mount(2). */
export function legacyMountFlags(flags: MountFlags): number {
  return collect(flags, "legacy");
}

/** The flags that were asked for and that a mount does not show. */
export function missingFlags(flags: MountFlags, options: readonly string[]): readonly string[] {
  return (Object.keys(FLAG_BITS) as (keyof MountFlags)[])
    .filter((name) => flags[name] === true && !options.includes(FLAG_BITS[name].option))
    .map((name) => FLAG_BITS[name].option);
}

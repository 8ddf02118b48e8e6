/**
 * The names and uuids that our dm devices carry. The uuid proves that a device is ours (INV-4); the
 * name is for people and for /dev/mapper.
 *
 * A pool's name holds the first 8 digits of its uuid; should two pools of one machine share them,
 * the second can't be opened beside the first, and nothing is harmed: every call goes by dm uuid.
 */
import { type DmName, type DmUuid, dmName, dmUuid } from "@thinpool/dm-native";

const SHORT_UUID_LENGTH = 8;

/** `thinpool-<8 digits>-`: the start of every dm name of this pool. */
export function dmNamePrefix(poolUuid: string): string {
  return `thinpool-${poolUuid.slice(0, SHORT_UUID_LENGTH)}-`;
}

export function poolDmName(poolUuid: string): DmName {
  return dmName(`${dmNamePrefix(poolUuid)}pool`);
}

/** With "dev-" in between, so that a device called "pool" does not take the pool's name. */
export function deviceDmName(poolUuid: string, name: string): DmName {
  return dmName(`${dmNamePrefix(poolUuid)}dev-${name}`);
}

export function dmUuidPrefix(poolUuid: string): string {
  return `THINPOOL-${poolUuid.replaceAll("-", "")}-`;
}

export function poolDmUuid(poolUuid: string): DmUuid {
  return dmUuid(`${dmUuidPrefix(poolUuid)}pool`);
}

export function deviceDmUuid(poolUuid: string, deviceUuid: string): DmUuid {
  return dmUuid(`${dmUuidPrefix(poolUuid)}${deviceUuid}`);
}

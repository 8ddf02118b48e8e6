/** Names of thin devices: strings that only `deviceName` makes. */
import { PoolError } from "./errors.ts";

declare const checked: unique symbol;
export type DeviceName = string & { readonly [checked]: "device-name" };

export const MAX_DEVICE_NAME_LENGTH = 64;
const ALPHABET = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;

/** 1 to 64 of letters, digits, `.`, `_`, `+`, `-`, the first a letter or digit. */
export function deviceName(text: string): DeviceName {
  if (text.length > MAX_DEVICE_NAME_LENGTH || !ALPHABET.test(text)) {
    throw new PoolError({
      code: "POOL_NAME_INVALID",
      operation: "check of a device name",
      object: JSON.stringify(text.slice(0, MAX_DEVICE_NAME_LENGTH + 1)),
      reason: "it is no valid device name",
      hint: `Use 1 to ${MAX_DEVICE_NAME_LENGTH} letters, digits, '.', '_', '+' or '-', the first a letter or digit.`,
    });
  }
  return text as DeviceName;
}

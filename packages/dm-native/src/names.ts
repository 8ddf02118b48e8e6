/**
 * Names and uuids of dm devices: strings that only the functions of this file make.
 * Source of the limits: linux/dm-ioctl.h (DM_NAME_LEN 128, DM_UUID_LEN 129, both with the NUL).
 */
import { NativeError } from "./errors.ts";

declare const checked: unique symbol;
/** A dm device's name as a person writes it (unmangled). */
export type DmName = string & { readonly [checked]: "dm-name" };
/** A dm device's uuid (unmangled). */
export type DmUuid = string & { readonly [checked]: "dm-uuid" };

const MAX_NAME_BYTES = 127;
const MAX_UUID_BYTES = 128;

function check(kind: "name" | "uuid", text: string, maxBytes: number): void {
  const refuse = (reason: string): never => {
    throw new NativeError({
      code: "NATIVE_INVALID",
      operation: `check of a dm ${kind}`,
      object: JSON.stringify(text),
      reason,
      hint: `Use 1 to ${maxBytes} bytes without a slash or a NUL.`,
    });
  };
  if (text.length === 0) refuse("it is empty");
  if (text.includes("\0")) refuse("it holds a NUL");
  if (text.includes("/")) refuse("it holds a slash");
  if (text === "." || text === "..") refuse("it is a name of a folder");
  if (!text.isWellFormed()) refuse("it is no well-formed Unicode");
  if (Buffer.byteLength(mangle(text)) > maxBytes) {
    refuse(`it is longer than ${maxBytes} bytes in the kernel's form`);
  }
}

export function dmName(text: string): DmName {
  check("name", text, MAX_NAME_BYTES);
  return text as DmName;
}

export function dmUuid(text: string): DmUuid {
  check("uuid", text, MAX_UUID_BYTES);
  return text as DmUuid;
}

/** The characters that libdevmapper leaves as they are (libdm-common.c, `_is_whitelisted_char`). */
const PLAIN = /^[0-9A-Za-z#+\-.:=@_]$/;
const ALL_PLAIN = /^[0-9A-Za-z#+\-.:=@_]*$/;

/** The form in which the kernel and /dev/mapper hold a name: other bytes become `\xNN`. */
export function mangle(text: string): string {
  // Nearly every name; each command has several.
  if (ALL_PLAIN.test(text)) return text;
  let out = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const char = String.fromCharCode(byte);
    out += PLAIN.test(char) ? char : `\\x${byte.toString(16).padStart(2, "0")}`;
  }
  return out;
}

/** The inverse of `mangle`; text that is not mangled comes back as it is. */
export function unmangle(text: string): string {
  if (!text.includes("\\x")) return text;
  const bytes: number[] = [];
  const raw = Buffer.from(text, "utf8");
  for (let index = 0; index < raw.length; index += 1) {
    const escape = /^\\x([0-9a-f]{2})/i.exec(raw.toString("latin1", index, index + 4));
    if (escape?.[1] !== undefined) {
      bytes.push(Number.parseInt(escape[1], 16));
      index += 3;
    } else {
      bytes.push(raw[index] ?? 0);
    }
  }
  return Buffer.from(bytes).toString("utf8");
}

/** The path of a device's node, whether udev or we made it. */
export function dmNodePath(name: DmName): string {
  return `/dev/mapper/${mangle(name)}`;
}

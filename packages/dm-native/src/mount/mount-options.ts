/** A filesystem's own options, checked before the kernel sees them: the same for both interfaces. */
import { NativeError } from "../errors.ts";

export const MAX_OPTIONS = 32;
/** fsconfig(2) takes keys and values of up to 255 bytes. */
const MAX_BYTES = 255;
const KEY = /^[a-z][a-z0-9_.-]*$/;
/** A comma would be a second option for mount(2); control characters confuse who reads mountinfo. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const BAD_VALUE = /[,\u0000-\u001f\u007f]/;
/** Keys that are the request's own fields. */
const RESERVED: ReadonlySet<string> = new Set(["source", "ro", "rw"]);

export type MountOptions = Readonly<Record<string, string | true>>;

function refuse(option: string, reason: string): never {
  throw new NativeError({
    code: "NATIVE_INVALID",
    operation: "check of mount options",
    object: JSON.stringify(option),
    reason,
    hint: "See the options of the filesystem in ext4(5) or xfs(5).",
  });
}

/** Throws NATIVE_INVALID at the first option that is malformed or not the filesystem's own. */
export function checkMountOptions(options: MountOptions): void {
  const entries = Object.entries(options);
  if (entries.length > MAX_OPTIONS) {
    refuse(`${entries.length} options`, `more than ${MAX_OPTIONS} are not accepted`);
  }
  for (const [key, value] of entries) {
    if (!KEY.test(key) || key.length > MAX_BYTES) refuse(key, "it is no option's name");
    if (RESERVED.has(key)) refuse(key, "it is a field of the request, not an option");
    if (value === true) continue;
    if (BAD_VALUE.test(value)) {
      refuse(`${key}=${value}`, "its value holds a comma or a control character");
    }
    if (value === "" || Buffer.byteLength(value) > MAX_BYTES) {
      refuse(`${key}=${value}`, `its value must have 1 to ${MAX_BYTES} bytes`);
    }
  }
}

/** The data argument of mount(2). */
export function legacyMountData(options: MountOptions): string {
  return Object.entries(options)
    .map(([key, value]) => (value === true ? key : `${key}=${value}`))
    .join(",");
}

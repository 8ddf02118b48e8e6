/** Idempotency keys that nobody else has. */

const KEY_BYTES = 16;

/** 128 random bits: two are never the same. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * All errors of thinpool.v1 in one table: the stable name that callers match on, the JSON-RPC number
 * (-327xx are the standard's own, ours lie in -32000 to -32099), whether the same call may work later
 * unchanged, and what to do where the thrower knows nothing better.
 */
export interface ErrorCodeEntry {
  readonly number: number;
  readonly retryable: boolean;
  readonly hint: string;
}

export const errorCodes = {
  PARSE_ERROR: {
    number: -32_700,
    retryable: false,
    hint: "Send one JSON-RPC 2.0 request per text message.",
  },
  INVALID_REQUEST: {
    number: -32_600,
    retryable: false,
    hint: "Send jsonrpc, id, method and params as JSON-RPC 2.0 has them; no batches.",
  },
  METHOD_NOT_FOUND: {
    number: -32_601,
    retryable: false,
    hint: "Use a method of thinpool.v1, or a newer daemon.",
  },
  INVALID_PARAMS: {
    number: -32_602,
    retryable: false,
    hint: "Compare the parameters with the method's schema.",
  },
  INTERNAL: {
    number: -32_603,
    retryable: false,
    hint: "Look for this request's id in the daemon's log and report it.",
  },
  NAME_INVALID: {
    number: -32_000,
    retryable: false,
    hint: "Use 1 to 64 letters, digits, '.', '_', '+' or '-', the first a letter or digit.",
  },
  NOT_FOUND: {
    number: -32_001,
    retryable: false,
    hint: "List the devices to see which there are.",
  },
  EXISTS: { number: -32_002, retryable: false, hint: "Take another name." },
  BUSY: {
    number: -32_003,
    retryable: true,
    hint: "Release its mounts and close what has it open, then try again.",
  },
  FORBIDDEN: {
    number: -32_004,
    retryable: false,
    hint: "Ask an administrator: this takes another user's rights.",
  },
  NOT_MOUNTED: {
    number: -32_005,
    retryable: false,
    hint: "List your mounts to see which references you hold.",
  },
  NO_SPACE: {
    number: -32_006,
    retryable: true,
    hint: "Remove devices that are not needed, or grow the pool.",
  },
  NEEDS_REPAIR: {
    number: -32_007,
    retryable: false,
    hint: "Deactivate the pool and check its metadata with thin_check.",
  },
  POOL_DEGRADED: {
    number: -32_008,
    retryable: false,
    hint: "Restart the daemon: it puts the pool in order when it opens it.",
  },
  LIMIT: {
    number: -32_009,
    retryable: true,
    hint: "Release or remove what is no longer needed, or wait for earlier requests.",
  },
  UNAVAILABLE: {
    number: -32_010,
    retryable: true,
    hint: "Connect again in a moment: the daemon is stopping.",
  },
  TOO_LARGE: { number: -32_011, retryable: false, hint: "Ask for less at once." },
  TIMEOUT: {
    number: -32_012,
    retryable: true,
    hint: "Ask for the object's state before trying again: the change may still happen.",
  },
  UNSUPPORTED: {
    number: -32_013,
    retryable: false,
    hint: "See what the daemon's kernel lacks: thin-pool, the filesystem, or idmapped mounts.",
  },
} as const satisfies Readonly<Record<string, ErrorCodeEntry>>;

export type ErrorCode = keyof typeof errorCodes;

export const errorCodeNames: readonly ErrorCode[] = Object.keys(errorCodes) as ErrorCode[];

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}

/**
 * All errors of thinpool.v1 in one table: the stable name that callers match on, the JSON-RPC number
 * (-327xx are the standard's own, ours lie in -32000 to -32099), whether the same call may work later
 * unchanged, what it means, and what to do where the thrower knows nothing better.
 */
export interface ErrorCodeEntry {
  readonly number: number;
  readonly retryable: boolean;
  /** What it means, in one sentence. */
  readonly meaning: string;
  /** What to do, in one sentence. */
  readonly hint: string;
}

export const errorCodes = {
  PARSE_ERROR: {
    number: -32_700,
    retryable: false,
    meaning: "The message was no JSON.",
    hint: "Send one JSON-RPC 2.0 request per text message.",
  },
  INVALID_REQUEST: {
    number: -32_600,
    retryable: false,
    meaning: "The message was JSON, but neither a request nor a notification of JSON-RPC 2.0.",
    hint: "Send jsonrpc, id, method and params as JSON-RPC 2.0 has them; no batches.",
  },
  METHOD_NOT_FOUND: {
    number: -32_601,
    retryable: false,
    meaning: "The daemon has no method of this name.",
    hint: "Use a method of thinpool.v1, or a newer daemon.",
  },
  INVALID_PARAMS: {
    number: -32_602,
    retryable: false,
    meaning: "The parameters do not fit the method's schema, or the engine refused a value.",
    hint: "Compare the parameters with the method's schema.",
  },
  INTERNAL: {
    number: -32_603,
    retryable: false,
    meaning: "The daemon failed in a way that is a mistake of its own.",
    hint: "Look for this request's id in the daemon's log and report it.",
  },
  NAME_INVALID: {
    number: -32_000,
    retryable: false,
    meaning: "A name breaks the rules for names.",
    hint: "Use 1 to 64 letters, digits, '.', '_', '+' or '-', the first a letter or digit.",
  },
  NOT_FOUND: {
    number: -32_001,
    retryable: false,
    meaning: "There is no such device, or none that the caller may see.",
    hint: "List the devices to see which there are.",
  },
  EXISTS: {
    number: -32_002,
    retryable: false,
    meaning: "The name is taken, possibly by a device that the caller may not see.",
    hint: "Take another name.",
  },
  BUSY: {
    number: -32_003,
    retryable: true,
    meaning: "The device is mounted or open.",
    hint: "Release its mounts and close what has it open, then try again.",
  },
  FORBIDDEN: {
    number: -32_004,
    retryable: false,
    meaning: "The policy does not let the caller do this.",
    hint: "Ask an administrator: this takes another user's rights.",
  },
  NOT_MOUNTED: {
    number: -32_005,
    retryable: false,
    meaning: "The caller holds no such reference.",
    hint: "List your mounts to see which references you hold.",
  },
  NO_SPACE: {
    number: -32_006,
    retryable: true,
    meaning: "The pool, or the disk under it, has no space left for this.",
    hint: "Remove devices that are not needed, or grow the pool.",
  },
  NEEDS_REPAIR: {
    number: -32_007,
    retryable: false,
    meaning: "The kernel refuses to change the pool until its metadata was checked.",
    hint: "An administrator stops the daemon and runs thinpool pool repair.",
  },
  POOL_DEGRADED: {
    number: -32_008,
    retryable: false,
    meaning: "An earlier change could not be undone: the daemon reads, but changes nothing.",
    hint: "Restart the daemon: it puts the pool in order when it opens it.",
  },
  LIMIT: {
    number: -32_009,
    retryable: true,
    meaning: "A limit on what one caller may have or ask for at once was reached.",
    hint: "Release or remove what is no longer needed, or wait for earlier requests.",
  },
  UNAVAILABLE: {
    number: -32_010,
    retryable: true,
    meaning: "The daemon is stopping; nothing of the request was done.",
    hint: "Connect again in a moment: the daemon is stopping.",
  },
  TOO_LARGE: {
    number: -32_011,
    retryable: false,
    meaning: "The request or its answer is larger than a message may be.",
    hint: "Ask for less at once.",
  },
  TIMEOUT: {
    number: -32_012,
    retryable: true,
    meaning: "It took longer than its limit, and may still happen.",
    hint: "Ask for the object's state before trying again: the change may still happen.",
  },
  UNSUPPORTED: {
    number: -32_013,
    retryable: false,
    meaning: "The daemon's kernel or its programs can't do this.",
    hint: "See what the daemon's kernel lacks: thin-pool, the filesystem, or idmapped mounts.",
  },
  CANCELLED: {
    number: -32_014,
    retryable: false,
    meaning: "The caller cancelled the request, and nothing of it was done.",
    hint: "Ask again if it is wanted after all.",
  },
  SESSION_GONE: {
    number: -32_015,
    retryable: false,
    meaning: "The session can't be resumed: its grace period is over, or it is somebody else's.",
    hint: "Go on with a new session: what the old one held was released.",
  },
  KEY_REUSED: {
    number: -32_016,
    retryable: false,
    meaning: "The idempotency key was used before, for another method or other parameters.",
    hint: "Take a new key for each change that is meant to happen.",
  },
  ARCHIVE_REFUSED: {
    number: -32_017,
    retryable: false,
    meaning:
      "The stream is no tar archive, or holds an entry that is not let in; nothing was made.",
    hint: "Leave the entry that is named out of the archive.",
  },
  CHECKSUM_MISMATCH: {
    number: -32_018,
    retryable: false,
    meaning:
      "The stream was not what the request said: its length or its SHA-256; nothing was made.",
    hint: "Send the file again that the checksum is of.",
  },
  STREAM_LOST: {
    number: -32_019,
    retryable: true,
    meaning: "The stream broke off and can't be taken up again; nothing was made.",
    hint: "Begin anew, with a stream from its beginning.",
  },
} as const satisfies Readonly<Record<string, ErrorCodeEntry>>;

export type ErrorCode = keyof typeof errorCodes;

export const errorCodeNames: readonly ErrorCode[] = Object.keys(errorCodes) as ErrorCode[];

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}

/** What a client says of itself when there is no answer to pass on: never on the wire, no number. */
export const clientErrorCodes = {
  DAEMON_UNREACHABLE: {
    retryable: true,
    meaning: "Nobody listens at the socket or address.",
    hint: "Start the daemon: thinpool serve, or systemctl start thinpoold.",
  },
  SOCKET_FORBIDDEN: {
    retryable: false,
    meaning: "This user may not open the daemon's socket.",
    hint: "Join the group that owns the socket (ls -l shows it), or ask an administrator.",
  },
  UNAUTHORIZED: {
    retryable: false,
    meaning: "The daemon refused the token by which the client connects over TCP.",
    hint: "Ask for a new one: it was revoked, has expired, or is not of this daemon.",
  },
  TLS_FAILED: {
    retryable: false,
    meaning: "The other end does not prove by a trusted certificate that it is the daemon.",
    hint: "Give the certificate of the daemon, or of its issuer, as `ca`, and in the URL a host that the certificate names.",
  },
  CONNECTION_LOST: {
    retryable: false,
    meaning: "The connection was cut while a request without an idempotency key was in flight.",
    hint: "Connect again and look at the object's state: a change may or may not have happened.",
  },
  CLIENT_CLOSED: {
    retryable: false,
    meaning: "The client was closed.",
    hint: "Connect again: this client was closed.",
  },
  ABORTED: {
    retryable: false,
    meaning: "The caller's signal ended the wait.",
    hint: "Look at the object's state: a change that was asked for may still happen.",
  },
  PROTOCOL: {
    retryable: false,
    meaning: "The other end sent what thinpool.v1 does not allow.",
    hint: "Update the SDK or the daemon: the two do not speak the same thinpool.v1.",
  },
  ARGUMENT_INVALID: {
    retryable: false,
    meaning: "An argument could not be sent.",
    hint: "Correct the argument that the reason names.",
  },
} as const satisfies Readonly<Record<string, Omit<ErrorCodeEntry, "number">>>;

export type ClientErrorCode = keyof typeof clientErrorCodes;

export interface ErrorExplanation extends Omit<ErrorCodeEntry, "number"> {
  readonly code: ErrorCode | ClientErrorCode;
  /** Undefined for a code that is never on the wire. */
  readonly number: number | undefined;
  /** Where it arises: in the daemon, which sends it, or in the client. */
  readonly side: "daemon" | "client";
}

/**
 * What a code means and what to do. Undefined where neither side has such a code.
 *
 * @example
 * ```ts
 * import { explain } from "@thinpool/protocol";
 *
 * console.log(explain("BUSY")?.hint);
 * // prints: Release its mounts and close what has it open, then try again.
 * ```
 */
export function explain(code: string): ErrorExplanation | undefined {
  if (isErrorCode(code)) return { code, side: "daemon", ...errorCodes[code] };
  if (!Object.hasOwn(clientErrorCodes, code)) return undefined;
  const own = code as ClientErrorCode;
  return { code: own, side: "client", number: undefined, ...clientErrorCodes[own] };
}

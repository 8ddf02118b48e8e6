/** What the gateway gives to whom it does not know yet, and what it may use itself. */

/** From accept(2) to the end of the upgrade request, the TLS handshake included. */
export const UPGRADE_TIMEOUT_MS = 5_000;
/** The upgrade request's head, the token included. */
export const MAX_HEADER_BYTES: number = 8 * 1024;
/** Connections at once: fewer than the daemon serves in all, so that local ones find a place. */
export const MAX_TCP_CONNECTIONS = 256;
/** Of these, not yet let in. The oldest makes room: who means it is let in within moments. */
export const MAX_HALF_OPEN = 64;
/** Not yet let in, of one address: the next one is cut. */
export const MAX_HALF_OPEN_PER_ADDRESS = 16;
/** Refused tokens of one address that the daemon is asked about; more are answered 429 without it. */
export const FAILED_TOKENS_PER_SECOND = 5;
/** The address that has shown more waits so long. */
export const FAILED_TOKENS_BLOCK_MS = 1_000;
/** Addresses whose failures are counted; the one that failed longest ago is forgotten first. */
export const MAX_FAILING_ADDRESSES = 4096;
/** For the last bytes to a client whose worker has gone. */
export const GOODBYE_MS = 2_000;
/** Waiting for accept(2), in the kernel. */
export const LISTEN_BACKLOG = 128;

/** Two for each connection, and Node's own. */
export const GATEWAY_MAX_DESCRIPTORS: number = 4 * MAX_TCP_CONNECTIONS;
/** V8's heap in MiB; the bytes that pass through are outside it. */
export const GATEWAY_HEAP_MIB = 128;

/** A chain of certificates, or a key, as PEM. */
export const MAX_PEM_BYTES: number = 64 * 1024;
export const MAX_ORIGINS = 64;
export const MAX_ORIGIN_LENGTH = 256;
/** An IP address as text. */
export const MAX_ADDRESS_LENGTH = 45;

/** JSON's own: the escapes of a PEM's line ends, and the names. */
const ENVELOPE_BYTES: number = 16 * 1024;
export const MAX_FRAME_TO_GATEWAY_BYTES: number = 2 * MAX_PEM_BYTES + ENVELOPE_BYTES;
/** A question with its token, or a note. */
export const MAX_FRAME_FROM_GATEWAY_BYTES = 1024;
/** Questions a second that the daemon answers; above that the gateway is not read for a while. */
export const QUESTIONS_PER_SECOND = 200;
export const OVERLOAD_REST_MS = 50;
/** Lines a second that the gateway may write into the log, with a burst of one second's. */
export const NOTES_PER_SECOND = 10;
/** How long a client that was told to go has for its goodbye, before its connection is cut. */
export const DISMISSAL_MS = 1_000;
/** How often it is seen whether the tokens of those that are connected still hold. */
export const TOKEN_CHECK_INTERVAL_MS = 1_000;

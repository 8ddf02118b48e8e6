/** The named limits of thinpool.v1: both ends keep them. */

/** The WebSocket subprotocol; a peer that does not offer it is refused. */
export const SUBPROTOCOL = "thinpool.v1";

/** A client that can't set headers offers its token as a second subprotocol that begins with this. */
export const TOKEN_SUBPROTOCOL_PREFIX = "thinpool.token.";
/** The close code of a connection whose token has been revoked, or has expired. */
export const CLOSE_UNAUTHORIZED = 4401;

/** A request of any method of v1 fits in a few hundred bytes; what is larger is a mistake or an attack. */
export const MAX_REQUEST_BYTES: number = 64 * 1024;
/** About 400 bytes per device, so some 10 000 devices where `device.list` is asked for all at once. */
export const MAX_RESPONSE_BYTES: number = 4 * 1024 * 1024;
/** Requests that one connection may have unanswered; the next one is answered LIMIT. */
export const MAX_REQUESTS_IN_FLIGHT = 64;
/** A connection whose peer does not read is cut when this much waits for it. */
export const MAX_BUFFERED_BYTES: number = 2 * MAX_RESPONSE_BYTES;
/** A request's id as a string. */
export const MAX_ID_LENGTH = 64;
/** A method's name. */
export const MAX_METHOD_LENGTH = 64;

export const MAX_CONNECTIONS = 512;
export const MAX_CONNECTIONS_PER_UID = 64;
/** The daemon pings this often, and cuts whoever has not answered by the next ping. */
export const HEARTBEAT_INTERVAL_MS = 15_000;

/** How long the daemon remembers an idempotency key. */
export const KEY_LIFETIME_MS: number = 24 * 60 * 60 * 1000;
/** The keys of one user that it remembers; the oldest go first. */
export const MAX_KEYS_PER_UID = 4096;

/** The payload of one binary message; with its header it fits where a request does. */
export const MAX_STREAM_PAYLOAD_BYTES: number = 60 * 1024;

/** What may be on its way in a stream: sent, and not yet taken by the other end. */
export const STREAM_WINDOW_BYTES: number = 1024 * 1024;

/** Streams of one connection at once; a further request gets LIMIT. */
export const MAX_STREAMS_PER_CONNECTION = 4;

/** A stream of which the client neither sends nor takes anything for so long, though it could, is ended. */
export const STREAM_IDLE_MS: number = 5 * 60 * 1000;

/** Where the daemon listens unless told otherwise. */
export const DEFAULT_SOCKET_PATH = "/run/thinpool/thinpool.sock";
/** The environment variable by which a client is told another place. */
export const SOCKET_ENVIRONMENT_VARIABLE = "THINPOOL_SOCKET";

/** What a worker may use, and how long it may take. */
import { MAX_REQUEST_BYTES, MAX_RESPONSE_BYTES } from "@thinpool/protocol";

/**
 * Processes at once, those that are ending included: the back keeps fewer (MAX_FRONTS), so only deaths
 * that take long reach it.
 */
export const MAX_WORKERS = 80;
/** From the spawn to "ready". A loaded machine, or the lab's, takes seconds to start Node. */
export const WORKER_START_TIMEOUT_MS = 60_000;
/** How often each worker is pinged and measured. */
export const WORKER_CHECK_INTERVAL_MS = 5_000;
/** A worker that leaves a ping unanswered for so long hangs, and is ended. */
export const WORKER_ANSWER_TIMEOUT_MS = 30_000;
/**
 * V8's heap in MiB. RLIMIT_AS is no use with V8, which reserves address space far beyond what it
 * touches; so memory outside the heap (buffers of sockets) is bounded by measuring: next constant.
 */
export const WORKER_HEAP_MIB = 96;
/** A worker whose resident memory is larger is ended. One that idles has about 60 MiB. */
export const WORKER_MAX_RSS_BYTES: number = 384 * 1024 * 1024;
/** Descriptors: one for each connection (MAX_CONNECTIONS_PER_UID), and Node's own. */
export const WORKER_MAX_DESCRIPTORS = 256;
/** After a worker's death of its own accord the next start for its uid waits: doubled from the first … */
export const WORKER_FIRST_BACKOFF_MS = 100;
/** … up to this, and back to none after a worker has served so long. */
export const WORKER_MAX_BACKOFF_MS = 30_000;
/** Processes that may wait for users who have none yet. */
export const MAX_SPARE_WORKERS = 8;
/** A spare that was taken is replaced after so long: starting Node must not slow down whom it was for. */
export const SPARE_DELAY_MS = 1_000;
/** A worker's words on stderr that go to the log; the rest is dropped. */
export const WORKER_MAX_STDERR_BYTES = 4096;

/** JSON around a request's parameters: its type, connection, id, method, each bounded. */
const ENVELOPE_BYTES = 1024;
/** One message of a front. */
export const MAX_FRAME_TO_BACK_BYTES: number = MAX_REQUEST_BYTES + ENVELOPE_BYTES;
/** One message of the back. */
export const MAX_FRAME_TO_FRONT_BYTES: number = MAX_RESPONSE_BYTES + ENVELOPE_BYTES;
/** With this much unread by the worker no more of it is read; */
export const WORKER_PAUSE_BACKLOG_BYTES: number = 2 * MAX_RESPONSE_BYTES;
/** with this much it is ended. */
export const WORKER_MAX_BACKLOG_BYTES: number = 16 * MAX_RESPONSE_BYTES;

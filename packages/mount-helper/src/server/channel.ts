/**
 * Between the two halves of the daemon. The front parses clients' bytes (HTTP, WebSocket, JSON,
 * schemas) and has no privileges; the back accepts, knows who is who, decides and acts. One front
 * serves one uid, and everything that comes from it is judged as coming from that uid: a front that a
 * client has taken over gains nothing that the client did not have.
 *
 * The channel between them is a `FrontPort` as the back sees it, a `BackPort` as the front sees it.
 * Two make one: worker/process-channel.ts (a worker process, frames over a socket pair) and
 * server/direct-channel.ts (both halves in one process, for tests).
 *
 * Life of a connection, all by its number, which the back gives:
 *
 *     back  adopt ─► front        the accepted socket, of which nothing was read
 *     front opened ─► back        the WebSocket handshake is over
 *     front request ─► back       any number, any order; `id` is free for use again after its answer
 *     front cancel ─► back        the client no longer wants the answer; there is one all the same
 *     back  answer ─► front       exactly one for each request
 *     back  push ─► front         whenever the back likes, after opened
 *     back  close ─► front        say goodbye to the client, then closed
 *     back  transfer ─► front     for a request with a stream: whose files, in which folder
 *     front transferred ─► back   exactly one for each transfer, whatever becomes of its connection
 *     back  withdraw ─► front     give that transfer up, then transferred
 *     front closed ─► back        the last message of a connection, opened or not; nobody sends
 *                                 anything about it any more (what crosses it on the way is dropped)
 *
 * The back checks each message from a front with `checkToBack`, and what a request holds with the
 * protocol's own schema. A front that breaks these rules is ended (FrontPort.end).
 */
import type { Socket } from "node:net";
import { errorCodeNames, requestId, sha256 } from "@thinpool/protocol";
import type { ErrorDescription, RequestId } from "@thinpool/protocol";
import * as v from "valibot";

/** The longest reason of a note. */
export const MAX_NOTE_LENGTH = 200;
/** The longest text in what became of a transfer. */
export const MAX_OUTCOME_LENGTH = 500;

/** Front to back. */
export type ToBack =
  | { readonly type: "opened"; readonly connection: number }
  | {
      readonly type: "request";
      readonly connection: number;
      readonly id: RequestId;
      /** Checked with `params` by the protocol's schema once more, as if the front had not. */
      readonly method: string;
      readonly params: Readonly<Record<string, unknown>>;
    }
  | { readonly type: "cancel"; readonly connection: number; readonly id: RequestId }
  | {
      /** For the log. */
      readonly type: "note";
      readonly connection: number;
      readonly event: NoteEvent;
      readonly reason: string;
    }
  | {
      /** The last of a transfer: all its files are closed. */
      readonly type: "transferred";
      readonly transfer: number;
      readonly outcome: TransferOutcome;
    }
  | {
      readonly type: "closed";
      readonly connection: number;
      /** RFC 6455's close code; 1006 where there was no closing handshake. */
      readonly code: number;
    };

/** What became of a stream. */
export type TransferOutcome =
  | {
      readonly ok: true;
      readonly entries: number;
      readonly streamBytes: number;
      readonly sha256: string;
      /** Entries of which not all was taken over: set-id bits, and to a client devices, sockets and pipes. */
      readonly reduced: number;
    }
  | ({ readonly ok: false } & Omit<ErrorDescription, "operation" | "errno">);

/** What the front is to do with a stream. */
export interface TransferWish {
  /** "to-daemon": unpack the client's stream. "to-client": pack, and send it. */
  readonly direction: "to-daemon" | "to-client";
  /** The folder whose files it is about: the top of a mount that is the front's own user's. */
  readonly path: string;
  /** What is known of a client's stream beforehand. */
  readonly streamBytes?: number | undefined;
  /** A client's stream may have no more: what there is room for. */
  readonly maxBytes?: number | undefined;
  readonly sha256?: string | undefined;
}

export type NoteEvent = "request-refused" | "connection-cut" | "connection-error";

/** Back to front. Trusted: the front does not look into `text`, which is ready to be sent. */
export type ToFront =
  | {
      readonly type: "answer";
      readonly connection: number;
      readonly id: RequestId;
      /** The whole JSON-RPC response. */
      readonly text: string;
    }
  | {
      readonly type: "push";
      readonly connection: number;
      /** The whole message. */
      readonly text: string;
    }
  | {
      readonly type: "close";
      readonly connection: number;
      /** RFC 6455's close code, and its reason. */
      readonly code: number;
      readonly reason: string;
    }
  | (TransferWish & {
      readonly type: "transfer";
      /** Of the request that it is for. It may be gone, and another have come with the same key. */
      readonly connection: number;
      readonly id: RequestId;
      readonly key?: string | undefined;
      /** Which call the key is for. */
      readonly callSha256: string;
      readonly transfer: number;
    })
  | {
      /** It is not wanted any more. */
      readonly type: "withdraw";
      readonly transfer: number;
    };

/** Of those that are about one connection. */
export type ToConnection = Exclude<ToFront, { readonly type: "transfer" | "withdraw" }>;

/** A front, as the back sees it. None of these throws; one that is gone refuses what it should adopt. */
export interface FrontPort {
  /** As whom the front reads and writes files. */
  readonly identity: { readonly uid: number; readonly gid: number };
  /** Hands the socket over: from now on only the front reads and writes it, and closes it. */
  adopt(connection: number, socket: Socket): void;
  send(message: ToFront): void;
  /** Reads nothing of it for that long. */
  rest(ms: number): void;
  /** Cuts all its connections at once and ends it; `lost` follows. `fault`: what it did, if anything. */
  end(fault?: string): void;
}

/** The back, as one front's channel sees it. */
export interface BackPort {
  /** Whatever came from the front, unchecked. */
  receive(message: unknown): void;
  /**
   * The front is gone, and its connections with it. Called once, as the last. `byDaemon`: it was ended
   * because it was not needed any more.
   */
  lost(reason: string, byDaemon: boolean): void;
}

const connection = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const amount = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const outcomeText = v.pipe(v.string(), v.maxLength(MAX_OUTCOME_LENGTH));
const transferOutcome: v.GenericSchema<unknown, TransferOutcome> = v.variant("ok", [
  v.strictObject({
    ok: v.literal(true),
    entries: amount,
    streamBytes: amount,
    sha256,
    reduced: amount,
  }),
  v.strictObject({
    ok: v.literal(false),
    code: v.picklist(errorCodeNames),
    object: outcomeText,
    reason: outcomeText,
    hint: v.optional(outcomeText),
    errnoName: v.optional(outcomeText),
  }),
]);

/** Strict: both halves are of one version, so a field too many is a mistake. */
const toBack: v.GenericSchema<unknown, ToBack> = v.variant("type", [
  v.strictObject({ type: v.literal("opened"), connection }),
  v.strictObject({
    type: v.literal("request"),
    connection,
    id: requestId,
    method: v.string(),
    params: v.record(v.string(), v.unknown()),
  }),
  v.strictObject({ type: v.literal("cancel"), connection, id: requestId }),
  v.strictObject({
    type: v.literal("note"),
    connection,
    event: v.picklist(["request-refused", "connection-cut", "connection-error"]),
    reason: v.pipe(v.string(), v.maxLength(MAX_NOTE_LENGTH)),
  }),
  v.strictObject({
    type: v.literal("transferred"),
    transfer: connection,
    outcome: transferOutcome,
  }),
  v.strictObject({
    type: v.literal("closed"),
    connection,
    code: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(4999)),
  }),
]);

/** Undefined where it is no message of a front. */
export function checkToBack(message: unknown): ToBack | undefined {
  const parsed = v.safeParse(toBack, message);
  return parsed.success ? parsed.output : undefined;
}

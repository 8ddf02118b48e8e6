/**
 * Binary messages: parts of a byte stream that belongs to a request. A header of 16 bytes, big-endian,
 * then the payload:
 *
 *     0  u32  the stream's number, of this connection (`stream.opened`)
 *     4  u8   kind: 0 data, 1 end (no payload; the offset is the stream's length)
 *     5  u8   0, three times
 *     8  u64  where in the stream the payload begins
 *
 * Pure; `parseStreamFrame` does not throw.
 */
import { MAX_STREAM_PAYLOAD_BYTES } from "./limits.ts";
import type { Parsed } from "./parse.ts";

export const STREAM_HEADER_BYTES = 16;
const KINDS = ["data", "end"] as const;

export interface StreamFrame {
  readonly stream: number;
  readonly kind: (typeof KINDS)[number];
  readonly offset: bigint;
  /** Empty at the end. */
  readonly payload: Uint8Array;
}

/** The payload is copied. */
export function encodeStreamFrame(frame: StreamFrame): Uint8Array<ArrayBuffer> {
  const { stream, kind, offset, payload } = frame;
  const bytes = new Uint8Array(STREAM_HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, stream);
  view.setUint8(4, KINDS.indexOf(kind));
  view.setBigUint64(8, offset);
  bytes.set(payload, STREAM_HEADER_BYTES);
  return bytes;
}

/** The payload is a view of `bytes`. */
export function parseStreamFrame(bytes: Uint8Array): Parsed<StreamFrame> {
  const refuse = (reason: string): Parsed<StreamFrame> => {
    return { ok: false, code: "INVALID_REQUEST", reason, id: null };
  };
  if (bytes.length < STREAM_HEADER_BYTES) {
    return refuse(`a binary message of ${bytes.length} bytes has no header`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = KINDS[view.getUint8(4)];
  const payload = bytes.subarray(STREAM_HEADER_BYTES);
  if (kind === undefined) return refuse(`a binary message of kind ${view.getUint8(4)}`);
  if ((view.getUint32(4) & 0xff_ffff) !== 0) return refuse("bytes that must be zero are not");
  if (payload.length > MAX_STREAM_PAYLOAD_BYTES) {
    return refuse(`a part of ${payload.length} bytes; at most ${MAX_STREAM_PAYLOAD_BYTES} go`);
  }
  // An empty part says nothing, and would be for ever on its way.
  if ((kind === "end") !== (payload.length === 0)) {
    return refuse(kind === "end" ? "an end with a payload" : "a part without a payload");
  }
  return {
    ok: true,
    value: { stream: view.getUint32(0), kind, offset: view.getBigUint64(8), payload },
  };
}

/**
 * The header of a dump. thin_dump 0.9 does not know the size of the data device when it reads a
 * metadata snapshot and writes nr_data_blocks="0"; thin_restore then refuses every mapping.
 */
import { Transform, type TransformCallback } from "node:stream";

/** The header is one line of about 150 bytes; a dump without it that long in is none. */
const MAX_HEADER_BYTES = 4096;
const UNKNOWN_SIZE = 'nr_data_blocks="0"';

/** Passes a dump on, with the size in its header where it was left out. */
export function withDataBlocks(dataBlocks: bigint): Transform {
  let head: Buffer | undefined = Buffer.alloc(0);
  const patched = (buffer: Buffer): Buffer =>
    Buffer.from(
      buffer.toString("latin1").replace(UNKNOWN_SIZE, `nr_data_blocks="${dataBlocks}"`),
      "latin1",
    );
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      if (head === undefined) return done(null, chunk);
      head = Buffer.concat([head, chunk]);
      if (!head.includes(">") && head.length < MAX_HEADER_BYTES) return done();
      const first = patched(head);
      head = undefined;
      return done(null, first);
    },
    flush(done: TransformCallback) {
      done(null, head === undefined ? undefined : patched(head));
    },
  });
}

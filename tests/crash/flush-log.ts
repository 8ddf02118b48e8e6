/**
 * The log of dm-log-writes: every write to a disk in the order in which flushes made them durable
 * (drivers/md/dm-log-writes.c). A write stands before the flush that came after its completion; so
 * what stands between two flushes may be on the disk, or not, when the power goes between them.
 */
import { closeSync, openSync, readSync, writeSync } from "node:fs";

const MAGIC = 0x6a736677736872n;
const VERSION = 1n;
/** Of struct log_write_entry: sector, nr_sectors, flags, data_len; the rest of its sector is a mark's text. */
const ENTRY_BYTES = 32;

export const LOG_FLAGS = { flush: 1, fua: 2, discard: 4, mark: 8 } as const;

export interface LogEntry {
  readonly flags: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Where the log has the bytes; undefined of a discard, a bare flush and a mark. */
  readonly dataAt: number | undefined;
  /** The text of a mark. */
  readonly mark: string | undefined;
}

export class WriteLog {
  readonly entries: readonly LogEntry[];
  /** How much of the file is the log. */
  readonly lengthBytes: number;
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, "r");
    const head = this.#read(0, 512);
    if (head.readBigUInt64LE(0) !== MAGIC || head.readBigUInt64LE(8) !== VERSION) {
      throw new Error(`${path} is no log of dm-log-writes`);
    }
    const count = Number(head.readBigUInt64LE(16));
    const sectorBytes = head.readUInt32LE(24);
    const entries: LogEntry[] = [];
    let at = sectorBytes;
    for (let index = 0; index < count; index += 1) {
      const entry = this.#read(at, sectorBytes);
      const flags = Number(entry.readBigUInt64LE(16));
      const lengthBytes = Number(entry.readBigUInt64LE(8)) * sectorBytes;
      const textBytes = Number(entry.readBigUInt64LE(24));
      const isMark = (flags & LOG_FLAGS.mark) !== 0;
      const hasData = lengthBytes > 0 && (flags & (LOG_FLAGS.discard | LOG_FLAGS.mark)) === 0;
      at += sectorBytes;
      entries.push({
        flags,
        offsetBytes: Number(entry.readBigUInt64LE(0)) * sectorBytes,
        lengthBytes,
        dataAt: hasData ? at : undefined,
        mark: isMark
          ? entry.toString("utf8", ENTRY_BYTES, ENTRY_BYTES + textBytes).replace(/\0.*$/s, "")
          : undefined,
      });
      if (hasData) at += lengthBytes;
    }
    this.entries = entries;
    this.lengthBytes = at;
  }

  close(): void {
    closeSync(this.#fd);
  }

  bytes(entry: LogEntry): Buffer | undefined {
    return entry.dataAt === undefined ? undefined : this.#read(entry.dataAt, entry.lengthBytes);
  }

  #read(at: number, lengthBytes: number): Buffer {
    const bytes = Buffer.alloc(lengthBytes);
    const got = readSync(this.#fd, bytes, 0, lengthBytes, at);
    if (got !== lengthBytes) throw new Error(`the log ends at byte ${at + got}`);
    return bytes;
  }
}

/** Pieces in which an image is kept and copied. */
const CHUNK_BYTES = 65_536;
const ZEROS: Buffer = Buffer.alloc(CHUNK_BYTES);

/** A disk as it grows, in memory, sparse. */
export class DiskImage {
  readonly #chunks = new Map<number, Buffer>();

  /** Shares the chunks until either changes one. */
  copy(): DiskImage {
    const copy = new DiskImage();
    for (const [index, chunk] of this.#chunks) copy.#chunks.set(index, chunk);
    return copy;
  }

  apply(log: WriteLog, entry: LogEntry): void {
    const bytes = log.bytes(entry);
    const zero = bytes === undefined && (entry.flags & LOG_FLAGS.discard) !== 0;
    if (bytes === undefined && !zero) return;
    for (let at = 0; at < entry.lengthBytes;) {
      const offset = entry.offsetBytes + at;
      const from = offset % CHUNK_BYTES;
      const length = Math.min(CHUNK_BYTES - from, entry.lengthBytes - at);
      const index = Math.floor(offset / CHUNK_BYTES);
      const old = this.#chunks.get(index);
      if (old !== undefined || bytes !== undefined) {
        const chunk = Buffer.from(old ?? Buffer.alloc(CHUNK_BYTES));
        if (bytes === undefined) chunk.fill(0, from, from + length);
        else bytes.copy(chunk, from, at, at + length);
        this.#chunks.set(index, chunk);
      }
      at += length;
    }
  }

  /** Writes what is not zero into a file that is all zeros from `offsetBytes` on. */
  writeTo(fd: number, offsetBytes: number): void {
    for (const [index, chunk] of this.#chunks) {
      if (chunk.equals(ZEROS)) continue;
      writeSync(fd, chunk, 0, chunk.length, offsetBytes + index * CHUNK_BYTES);
    }
  }
}

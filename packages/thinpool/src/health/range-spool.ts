/**
 * Ranges in the order in which they come, on disk and not in memory: a reader who takes his time must
 * not keep the pool's metadata snapshot, and the difference of two large devices has no bound.
 */
import { randomUUID } from "node:crypto";
import { type FileHandle, open, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { removeFile } from "../folder.ts";
import type { BlockDifference } from "../tools/metadata-tools.ts";

const KINDS = ["changed", "added", "removed"] as const;
/** Two 64-bit numbers and a byte for the kind. */
const RECORD_BYTES = 17;
const BATCH_RECORDS = 4096;
/** For the moment until it has none. */
const NAME = /^spool-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export class RangeSpool implements AsyncDisposable {
  readonly #file: FileHandle;
  #batch: Buffer = Buffer.alloc(RECORD_BYTES * BATCH_RECORDS);
  #batched = 0;
  #written = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** In a file without a name: it is gone when this is disposed of, or the process dies. */
  static async create(folder: string): Promise<RangeSpool> {
    const path = join(folder, `spool-${randomUUID()}`);
    const file = await open(path, "wx+", 0o600);
    try {
      await unlink(path);
    } catch (error) {
      await file.close();
      throw error;
    }
    return new RangeSpool(file);
  }

  async add(range: BlockDifference): Promise<void> {
    const at = this.#batched * RECORD_BYTES;
    this.#batch.writeBigUInt64LE(range.beginBlock, at);
    this.#batch.writeBigUInt64LE(range.lengthBlocks, at + 8);
    this.#batch.writeUInt8(KINDS.indexOf(range.kind), at + 16);
    this.#batched += 1;
    if (this.#batched === BATCH_RECORDS) await this.#flush();
  }

  /** All that was added; nothing may be added any more. */
  async *read(): AsyncGenerator<BlockDifference> {
    await this.#flush();
    for (let done = 0; done < this.#written; done += BATCH_RECORDS) {
      const count = Math.min(BATCH_RECORDS, this.#written - done);
      const length = count * RECORD_BYTES;
      await this.#file.read(this.#batch, 0, length, done * RECORD_BYTES);
      for (let at = 0; at < length; at += RECORD_BYTES) {
        yield {
          kind: KINDS[this.#batch.readUInt8(at + 16)] ?? "changed",
          beginBlock: this.#batch.readBigUInt64LE(at),
          lengthBlocks: this.#batch.readBigUInt64LE(at + 8),
        };
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    const length = this.#batched * RECORD_BYTES;
    let written = 0;
    while (written < length) {
      const at = this.#written * RECORD_BYTES + written;
      const { bytesWritten } = await this.#file.write(this.#batch, written, length - written, at);
      written += bytesWritten;
    }
    this.#written += this.#batched;
    this.#batched = 0;
  }
}

/** In a folder that nobody else has open: those of a process that died in that moment. */
export async function removeSpools(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (NAME.test(name)) await removeFile(join(folder, name));
  }
}

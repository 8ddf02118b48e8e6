/** Archives at this end: a file, a folder that is packed on the way, or standard input; and where one goes. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { link, open, realpath, rename, rm, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Readable, pipeline } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { CommandError, UsageError } from "./errors.ts";

/** What "-" stands for. */
export const STANDARD = "-";

export interface Archive extends Disposable {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Undefined where it is not known beforehand. */
  readonly totalBytes: bigint | undefined;
}

/** What compressed files begin with. */
const COMPRESSED = [
  { magic: [0x1f, 0x8b], decompress: createGunzip },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], decompress: createZstdDecompress },
] as const;
/** What people have beside them, and what to do about it. */
const ELSE = [
  { magic: [0xfd, 0x37, 0x7a, 0x58], what: "compressed with xz", unpack: "xz -dc" },
  { magic: [0x42, 0x5a, 0x68], what: "compressed with bzip2", unpack: "bzip2 -dc" },
  { magic: [0x04, 0x22, 0x4d, 0x18], what: "compressed with lz4", unpack: "lz4 -dc" },
  { magic: [0x51, 0x46, 0x49, 0xfb], what: "a disk image, qcow2, and no archive" },
  { magic: [0x50, 0x4b, 0x03, 0x04], what: "a zip archive, and no tar archive" },
] as const;
const LONGEST_MAGIC = 4;

/**
 * Opens what `path` names. A file that is compressed (gzip, zstd) is decompressed; `sha256`, if given, is
 * that of the file as it is, and reading throws CHECKSUM_MISMATCH at the end where it is another. Disposing
 * of it ends a read that is waited for: else that would keep the program alive.
 */
export async function openArchive(path: string, sha256: string | undefined): Promise<Archive> {
  if (path === STANDARD) {
    if (process.stdin.isTTY) {
      throw new UsageError({
        reason: "standard input is a terminal",
        hint: "Pipe an archive into it: tar -C FOLDER -c . | thinpool image import NAME -",
      });
    }
    const { stdin } = process;
    const checked = sumChecked(stdin, sha256, "standard input");
    const { bytes } = await decompressed(checked, path);
    return { bytes, totalBytes: undefined, [Symbol.dispose]: () => void stdin.destroy() };
  }
  const { isFolder, size } = await measureArchive(path);
  if (isFolder) {
    if (sha256 !== undefined) {
      const reason = "a folder has no SHA-256";
      throw new UsageError({ reason, hint: "Leave --sha256 out, or name an archive." });
    }
    return { bytes: packed(path), totalBytes: undefined, [Symbol.dispose]: () => undefined };
  }
  try {
    const file = createReadStream(path);
    const checked = sumChecked(file, sha256, path);
    const { bytes, isCompressed } = await decompressed(checked, path);
    const totalBytes = isCompressed ? undefined : size;
    return { bytes, totalBytes, [Symbol.dispose]: () => void file.destroy() };
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw noArchive(path, messageOf(error), error);
  }
}

async function* packed(folder: string): AsyncGenerator<Uint8Array, void, undefined> {
  const { packTree } = await import("@thinpool/mount-helper");
  try {
    yield* packTree(await realpath(folder));
  } catch (error) {
    throw new CommandError({
      code: "COPY_FAILED",
      operation: "image import",
      object: folder,
      reason: withoutDot(messageOf(error)),
      hint: "Leave out what can't be read, or pack it with tar.",
      cause: error,
    });
  }
}

/** Nothing is read of it. `size`: of a file, as it is; undefined for standard input. */
export async function measureArchive(
  path: string,
): Promise<{ readonly isFolder: boolean; readonly size: bigint | undefined }> {
  if (path === STANDARD) return { isFolder: false, size: undefined };
  try {
    const found = await stat(path, { bigint: true });
    if (found.isDirectory() || found.isFile() || found.isFIFO()) {
      return {
        isFolder: found.isDirectory(),
        size: found.isFile() ? found.size : undefined,
      };
    }
  } catch (error) {
    throw noArchive(path, messageOf(error), error);
  }
  throw noArchive(path, "it is neither a file nor a folder");
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function withoutDot(sentence: string): string {
  return sentence.replace(/\.$/, "");
}

function noArchive(object: string, reason: string, cause?: unknown): CommandError {
  const hint = "Name an archive or a folder that is there, or - for standard input.";
  const operation = "image import";
  return new CommandError({ code: "NO_ARCHIVE", operation, object, reason, hint, cause });
}

async function* sumChecked(
  bytes: AsyncIterable<Uint8Array>,
  sha256: string | undefined,
  object: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const sum = createHash("sha256");
  for await (const part of bytes) {
    sum.update(part);
    yield part;
  }
  const found = sum.digest("hex");
  if (sha256 === undefined || sha256 === found) return;
  throw new CommandError({
    code: "CHECKSUM_MISMATCH",
    operation: "image import",
    object,
    reason: `its SHA-256 is ${found}, not ${sha256}`,
    hint: "Fetch it again, or correct the checksum.",
  });
}

async function decompressed(
  bytes: AsyncGenerator<Uint8Array, void, undefined>,
  object: string,
): Promise<{ readonly bytes: AsyncIterable<Uint8Array>; readonly isCompressed: boolean }> {
  let head: Uint8Array = new Uint8Array();
  while (head.length < LONGEST_MAGIC) {
    const next = await bytes.next();
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  const whole = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    if (head.length > 0) yield head;
    yield* bytes;
  };
  const fits = ({ magic }: { readonly magic: readonly number[] }): boolean =>
    magic.every((byte, at) => head[at] === byte);
  const other = ELSE.find(fits);
  if (other !== undefined) {
    await bytes.return();
    throw new CommandError({
      code: "COPY_FAILED",
      operation: "image import",
      object,
      reason: `it is ${other.what}`,
      hint:
        "unpack" in other
          ? `Unpack it on the way: ${other.unpack} FILE | thinpool image import NAME -`
          : "Give its files: a folder that has them, or a tar archive of it.",
    });
  }
  const form = COMPRESSED.find(fits);
  if (form === undefined) return { bytes: whole(), isCompressed: false };
  const decompress = form.decompress();
  // Whatever fails on the way, whoever reads hears of it; said once more, it would end the process.
  decompress.on("error", () => undefined);
  pipeline(Readable.from(whole()), decompress, () => undefined);
  return { bytes: readable(decompress, object), isCompressed: true };
}

async function* readable(
  decompress: AsyncIterable<Uint8Array>,
  object: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* decompress;
  } catch (error) {
    if (error instanceof CommandError) throw error;
    const reason = `it can't be decompressed: ${messageOf(error)}`;
    const hint = "Fetch it again, or unpack it first.";
    const operation = "image import";
    throw new CommandError({ code: "COPY_FAILED", operation, object, reason, hint, cause: error });
  }
}

/**
 * Writes to `named` what `fill` writes to the file that it is given: beside it, under another name, so that
 * there is a whole file or none. FILE_EXISTS where there is one, unless `force`; USAGE for what is no file.
 */
export async function writeWhole<Result>(
  named: string,
  { force }: { readonly force: boolean },
  fill: (file: FileHandle) => Promise<Result>,
): Promise<Result> {
  const path = await placeOf(named, force);
  const part = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  try {
    let result: Result;
    {
      await using file = await open(part, "wx");
      result = await fill(file);
      await file.sync();
    }
    if (force) await rename(part, path);
    else {
      await link(part, path);
      await rm(part);
    }
    return result;
  } catch (error) {
    await rm(part, { force: true });
    if (!(error instanceof Error) || !("syscall" in error) || !("code" in error)) throw error;
    if (error.code === "EEXIST") throw existing(path);
    throw new CommandError({
      code: "COPY_FAILED",
      operation: "device export",
      object: path,
      reason: error.message,
      hint: "Name a file in a folder that is there, may be written to, and has room.",
      cause: error,
    });
  }
}

/** The new file takes the place of a file alone: never that of /dev/null, say, or of the link /dev/stdout. */
async function placeOf(path: string, force: boolean): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  // Nothing is there, or nothing that can be looked at: making the file says which.
  if (found === undefined) return path;
  if (!found.isFile()) {
    throw new UsageError({
      reason: `${path} is no file, but a ${found.isDirectory() ? "folder" : "device, pipe or socket"}`,
      hint: "Name a file; what is to go elsewhere goes by standard output, as with - for the file.",
    });
  }
  if (!force) throw existing(path);
  return await realpath(path);
}

function existing(object: string): CommandError {
  return new CommandError({
    code: "FILE_EXISTS",
    operation: "device export",
    object,
    reason: "there is a file of that name",
    hint: "Name another, or write over it with --force.",
  });
}

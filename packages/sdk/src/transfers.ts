/** A device's files as a stream, in and out. */
import type { MethodParams, MethodResult } from "@thinpool/protocol";
import { clientError } from "./errors.ts";
import type { ChangeOptions, Progress, Requests } from "./requests.ts";
import type { Device, Filesystem } from "./resources.ts";
import { deviceFromWire } from "./resources.ts";
import { Download, Upload } from "./streams.ts";
import { NO_TIMEOUT_MS } from "./wait.ts";

export interface ImportOptions extends ChangeOptions {
  readonly name: string;
  /** A tar archive, not compressed: a `ReadableStream`, or whatever else can be iterated. */
  readonly source: AsyncIterable<Uint8Array>;
  /** Of the new, empty device; default: 10 GiB with ext4. Not with `origin`. */
  readonly sizeBytes?: bigint;
  readonly filesystem?: Exclude<Filesystem, "none">;
  /** The device is a copy of this one, and the files come on top of what is there. */
  readonly origin?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * How long the archive is, where that is known: for the progress, and checked. NO_SPACE, with nothing
   * begun, where the filesystem under a pool on files has not so much free.
   */
  readonly streamBytes?: bigint;
  /** What the archive's SHA-256 must be, in hexadecimal. */
  readonly sha256?: string;
  /** Called with what the daemon has unpacked. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface Imported {
  readonly device: Device;
  /** Undefined where the daemon was cut down right after it was done. */
  readonly content:
    | {
        readonly entries: number;
        readonly streamBytes: bigint;
        readonly sha256: string;
        /** Files whose set-user-id or set-group-id bit was not taken over. */
        readonly withoutSetId: number;
      }
    | undefined;
}

export interface ExportOptions extends ChangeOptions {
  readonly name: string;
  /** Called with what was read; how much there will be is not known beforehand. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface ExportSummary {
  readonly entries: number;
  readonly streamBytes: bigint;
  /** Of the whole stream, in hexadecimal. */
  readonly sha256: string;
  /** Device nodes, sockets and pipes, which are not in the stream. */
  readonly left: number;
}

/** A tar archive on its way. Reading to its end, or breaking out of the loop, ends it. */
export interface DeviceExport extends AsyncIterable<Uint8Array> {
  /** When all has been read. */
  readonly summary: Promise<ExportSummary>;
}

export async function importImage(requests: Requests, options: ImportOptions): Promise<Imported> {
  const { name, source, sizeBytes, filesystem, origin, labels, streamBytes, sha256 } = options;
  const params: MethodParams<"device.import"> = {
    name,
    ...(sizeBytes === undefined ? {} : { sizeBytes: sizeBytes.toString() }),
    ...(filesystem === undefined ? {} : { filesystem }),
    ...(origin === undefined ? {} : { origin }),
    ...(labels === undefined ? {} : { labels: { ...labels } }),
    ...(streamBytes === undefined ? {} : { streamBytes: streamBytes.toString() }),
    ...(sha256 === undefined ? {} : { sha256: sha256.toLowerCase() }),
  };
  const upload = new Upload(source, (bytes) =>
    options.onProgress?.({ done: BigInt(bytes), total: streamBytes, unit: "bytes" }),
  );
  const { failed } = upload;
  const signal = options.signal == null ? failed : AbortSignal.any([options.signal, failed]);
  // It takes as long as it is, and the daemon ends one that stands still.
  const timeoutMs = options.timeoutMs ?? NO_TIMEOUT_MS;
  try {
    const call = { ...options, signal, timeoutMs };
    return imported(await requests.call("device.import", params, call, upload));
  } catch (error) {
    // What the source threw is its owner's to know.
    throw failed.aborted ? failed.reason : error;
  } finally {
    upload.close();
  }
}

function imported({ device, content }: MethodResult<"device.import">): Imported {
  const known = content && { ...content, streamBytes: BigInt(content.streamBytes) };
  return { device: deviceFromWire(device), content: known };
}

export function exportDevice(requests: Requests, options: ExportOptions): DeviceExport {
  const download = new Download();
  const ended = new AbortController();
  const signal =
    options.signal == null ? ended.signal : AbortSignal.any([options.signal, ended.signal]);
  const timeoutMs = options.timeoutMs ?? NO_TIMEOUT_MS;
  const run = async (): Promise<ExportSummary> => {
    try {
      const call = { ...options, signal, timeoutMs };
      const { name } = options;
      const result = await requests.call("device.export", { name }, call, download);
      download.finish(Number(result.streamBytes));
      return { ...result, streamBytes: BigInt(result.streamBytes) };
    } catch (error) {
      download.fail(error);
      throw error;
    }
  };
  const summary = run();
  // Whoever reads hears of it there.
  summary.catch(() => undefined);
  return {
    summary,
    [Symbol.asyncIterator]: () => read(options, download, { summary, ended }),
  };
}

async function* read(
  { onProgress }: ExportOptions,
  download: Download,
  { summary, ended }: { summary: Promise<ExportSummary>; ended: AbortController },
): AsyncGenerator<Uint8Array, void, undefined> {
  let done = 0n;
  try {
    for await (const chunk of download) {
      yield chunk;
      done += BigInt(chunk.length);
      onProgress?.({ done, total: undefined, unit: "bytes" });
    }
    await summary;
  } finally {
    const context = { operation: "device.export", object: "the stream" };
    ended.abort(clientError("ABORTED", { ...context, reason: "its reader has ended" }));
  }
}

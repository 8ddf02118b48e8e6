/** How far long work is: a bar on a terminal, now and then a line without one. On stderr. */
import { formatDuration } from "./duration.ts";
import { bar } from "./pool/bar.ts";
import { formatShare, formatSize } from "./size.ts";

const BAR_WIDTH = 24;
const REDRAW_MS = 100;
const LINE_MS = 10_000;
const ERASE_LINE = "\r\u001B[K";

export interface Measured {
  readonly doneBytes: bigint;
  /** Undefined where nobody knows it beforehand. */
  readonly totalBytes: bigint | undefined;
  readonly elapsedMs: number;
}

/** "12.5% of 2 GiB, 40 MiB/s, 45s left"; without a total what is done, and for how long it runs. */
export function describeProgress({ doneBytes, totalBytes, elapsedMs }: Measured): string {
  const perSecond = elapsedMs > 0 ? (doneBytes * 1000n) / BigInt(Math.ceil(elapsedMs)) : 0n;
  const rate = perSecond > 0n ? `, ${formatSize(perSecond)}/s` : "";
  if (totalBytes === undefined) {
    const done = doneBytes > 0n ? `${formatSize(doneBytes)}${rate}, ` : "";
    return `${done}running for ${formatDuration(elapsedMs)}`;
  }
  const left = totalBytes > doneBytes ? totalBytes - doneBytes : 0n;
  const time = perSecond > 0n ? `, ${formatDuration(Number((left * 1000n) / perSecond))} left` : "";
  return `${formatShare(doneBytes, totalBytes)} of ${formatSize(totalBytes)}${rate}${time}`;
}

export class Progress implements Disposable {
  readonly #label: string;
  readonly #stream: NodeJS.WriteStream;
  readonly #totalBytes: bigint | undefined;
  readonly #startMs = performance.now();
  readonly #timer: NodeJS.Timeout | undefined;
  #doneBytes = 0n;

  constructor(options: {
    /** What is done, as a word: "copying". */
    readonly label: string;
    readonly totalBytes?: bigint;
    /** Says nothing at all, for --json. */
    readonly silent: boolean;
    readonly stream?: NodeJS.WriteStream;
  }) {
    this.#label = options.label;
    this.#totalBytes = options.totalBytes;
    this.#stream = options.stream ?? process.stderr;
    if (options.silent) return;
    const everyMs = this.#stream.isTTY ? REDRAW_MS : LINE_MS;
    this.#timer = setInterval(() => this.#show(), everyMs);
    this.#timer.unref();
  }

  add(bytes: number): void {
    this.#doneBytes += BigInt(bytes);
  }

  #show(): void {
    const totalBytes = this.#totalBytes;
    const measured = {
      // A file may have grown since it was counted: more than all is never done.
      doneBytes:
        totalBytes !== undefined && this.#doneBytes > totalBytes ? totalBytes : this.#doneBytes,
      totalBytes,
      elapsedMs: performance.now() - this.#startMs,
    };
    const text = describeProgress(measured);
    if (!this.#stream.isTTY) {
      this.#stream.write(`${this.#label}: ${text}\n`);
      return;
    }
    const { doneBytes } = measured;
    const drawn =
      totalBytes === undefined
        ? ""
        : `${bar({ used: doneBytes, total: totalBytes, width: BAR_WIDTH })} `;
    const line = `${this.#label} ${drawn}${text}`;
    this.#stream.write(ERASE_LINE + line.slice(0, Math.max(1, this.#stream.columns - 1)));
  }

  /** Leaves the terminal as it was. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    if (this.#timer !== undefined && this.#stream.isTTY) this.#stream.write(ERASE_LINE);
  }
}

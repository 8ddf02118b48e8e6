/** What a run measured: every sample, by the name of its series. */
import { summarize, type Summary } from "./statistics.ts";

export type Unit = "ms" | "us" | "per s" | "MiB" | "MiB/s" | "IOPS" | "count";

export interface Series {
  readonly unit: Unit;
  readonly samples: number[];
}

/** Series are called `section/who`, with `/N` behind where they grow with N. */
export class Recorder {
  readonly #series = new Map<string, Series>();
  readonly #notes: string[] = [];
  readonly #say: (line: string) => void;

  constructor(say: (line: string) => void) {
    this.#say = say;
  }

  /** Progress, for people: not part of the result. */
  say(line: string): void {
    this.#say(line);
  }

  /** Something that a reader of the figures must know. */
  note(line: string): void {
    this.#notes.push(line);
    this.#say(line);
  }

  add(name: string, unit: Unit, ...samples: readonly number[]): void {
    const present = this.#series.get(name) ?? { unit, samples: [] };
    if (present.unit !== unit) throw new Error(`${name} is in ${present.unit}, not ${unit}`);
    present.samples.push(...samples);
    this.#series.set(name, present);
  }

  /** Times `body` in milliseconds into the series. */
  async time<T>(name: string, body: () => Promise<T> | T): Promise<T> {
    const start = performance.now();
    const result = await body();
    this.add(name, "ms", performance.now() - start);
    return result;
  }

  summary(name: string): Summary | undefined {
    const series = this.#series.get(name);
    return series === undefined ? undefined : summarize(series.samples);
  }

  median(name: string): number | undefined {
    return this.summary(name)?.median;
  }

  get series(): Readonly<Record<string, Series>> {
    return Object.fromEntries(this.#series);
  }

  get notes(): readonly string[] {
    return this.#notes;
  }
}

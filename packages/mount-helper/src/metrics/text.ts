/**
 * Counters, histograms and gauges, and their text as Prometheus reads it (exposition format 0.0.4).
 * Label values come from fixed sets (methods, error codes, states), so the number of series is bounded.
 */

export type Labels = Readonly<Record<string, string>>;

/** Prometheus' own default, from a cached answer to a mount that waits for a journal. */
export const DURATION_BUCKETS_SECONDS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function series(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escape(text)}"`);
  return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}`;
}

function head(name: string, type: string, help: string): readonly string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`];
}

export class Counter {
  readonly #name: string;
  readonly #help: string;
  readonly #values = new Map<string, { readonly labels: Labels; value: number }>();

  constructor(name: string, help: string) {
    this.#name = name;
    this.#help = help;
  }

  add(labels: Labels): void {
    const key = JSON.stringify(labels);
    const entry = this.#values.get(key) ?? { labels, value: 0 };
    entry.value += 1;
    this.#values.set(key, entry);
  }

  lines(): readonly string[] {
    const values = Array.from(this.#values.values());
    return [
      ...head(this.#name, "counter", this.#help),
      ...values.map(({ labels, value }) => series(this.#name, labels, value)),
    ];
  }
}

interface Distribution {
  readonly labels: Labels;
  /** How many fell into each bucket, not counting those of smaller ones; the last one is +Inf. */
  readonly counts: number[];
  sum: number;
}

export class Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #values = new Map<string, Distribution>();

  constructor(name: string, help: string, bounds: readonly number[] = DURATION_BUCKETS_SECONDS) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
  }

  observe(labels: Labels, value: number): void {
    const key = JSON.stringify(labels);
    const counts = [...this.#bounds, Infinity].map(() => 0);
    const entry = this.#values.get(key) ?? { labels, counts, sum: 0 };
    const found = this.#bounds.findIndex((bound) => value <= bound);
    const bucket = found === -1 ? this.#bounds.length : found;
    entry.counts[bucket] = (entry.counts[bucket] ?? 0) + 1;
    entry.sum += value;
    this.#values.set(key, entry);
  }

  lines(): readonly string[] {
    const values = Array.from(this.#values.values());
    return [
      ...head(this.#name, "histogram", this.#help),
      ...values.flatMap((entry) => this.#seriesOf(entry)),
    ];
  }

  #seriesOf({ labels, counts, sum }: Distribution): readonly string[] {
    let below = 0;
    const buckets = counts.map((count, index) => {
      below += count;
      const bound = this.#bounds[index];
      const le = bound === undefined ? "+Inf" : String(bound);
      return series(`${this.#name}_bucket`, { ...labels, le }, below);
    });
    return [
      ...buckets,
      series(`${this.#name}_sum`, labels, sum),
      series(`${this.#name}_count`, labels, below),
    ];
  }
}

/** A value that is read when it is asked for; no samples where it is not known. */
export function gaugeLines(
  name: string,
  help: string,
  samples: readonly { readonly labels?: Labels; readonly value: number }[],
): readonly string[] {
  if (samples.length === 0) return [];
  return [
    ...head(name, "gauge", help),
    ...samples.map(({ labels = {}, value }) => series(name, labels, value)),
  ];
}

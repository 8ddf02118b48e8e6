/** What of the looks becomes an event: changes only, each once. */
import type { PoolState } from "../device.ts";
import type { PoolEventBody, SpaceLevel } from "../events/event.ts";
import type { GrowingSpace } from "./grow.ts";
import { type Limits, levelOf, type WorkingMeasure } from "./levels.ts";
import type { Measure } from "./measure.ts";

export const SPACES = ["data", "metadata"] as const;
/** A forecast is told when it falls below a day, an hour, ten minutes. */
export const FORECAST_WARNINGS_SECONDS = [86_400, 3_600, 600] as const;
/** It is told anew only after this many looks without it, so that a wavering one is no flood. */
const LOOKS_UNTIL_TOLD_ANEW = 60;

interface Told {
  level: SpaceLevel;
  exhausted: boolean;
  /** How many of the warnings' limits the forecast was below when it was last told. */
  warnings: number;
  calmLooks: number;
}

export class Watch {
  readonly #note: (body: PoolEventBody) => void;
  #state: PoolState = "working";
  #growthFailure: string | undefined;
  readonly #told: Readonly<Record<GrowingSpace, Told>> = { data: fresh(), metadata: fresh() };

  constructor(note: (body: PoolEventBody) => void) {
    this.#note = note;
  }

  state(measure: Measure): void {
    const from = this.#state;
    const to = measure.state;
    this.#state = to;
    if (from !== to) this.#note({ type: "pool-state", from, to });
  }

  levels(measure: WorkingMeasure, limits: Limits): void {
    for (const space of SPACES) {
      const told = this.#told[space];
      const to = levelOf(measure, space, limits);
      if (told.level === to) continue;
      this.#note({ type: "space", space, from: told.level, to, ...measure.use[space] });
      told.level = to;
    }
  }

  exhausted(space: GrowingSpace, reason: string | undefined): void {
    const told = this.#told[space];
    if (reason !== undefined && !told.exhausted) this.#note({ type: "exhausted", space, reason });
    told.exhausted = reason !== undefined;
  }

  growthFailed(reason: string): void {
    if (this.#growthFailure !== reason) this.#note({ type: "growth-failed", reason });
    this.#growthFailure = reason;
  }

  growthWorks(): void {
    this.#growthFailure = undefined;
  }

  forecast(space: GrowingSpace, secondsToExhausted: number | undefined): void {
    const told = this.#told[space];
    const seconds = secondsToExhausted ?? Number.POSITIVE_INFINITY;
    const below = FORECAST_WARNINGS_SECONDS.filter((limit) => seconds < limit).length;
    told.calmLooks = below < told.warnings ? told.calmLooks + 1 : 0;
    if (below > told.warnings && secondsToExhausted !== undefined) {
      this.#note({ type: "forecast", space, secondsToExhausted });
      told.warnings = below;
    } else if (told.calmLooks >= LOOKS_UNTIL_TOLD_ANEW) {
      told.warnings = below;
    }
  }
}

function fresh(): Told {
  return { level: "ample", exhausted: false, warnings: 0, calmLooks: 0 };
}

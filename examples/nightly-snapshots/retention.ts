/** Which snapshots to keep. Pure: dates in, names out. */

const DAY_MS = 86_400_000;

export interface DatedSnapshot {
  readonly name: string;
  /** In UTC: "2026-11-25". */
  readonly date: string;
}

export interface Keep {
  /** The newest so many days that have a snapshot. */
  readonly daily: number;
  /** The last snapshot of each of the newest so many weeks that have one; a week begins on Monday. */
  readonly weekly: number;
}

/** Days since 1970 of the Monday of a date's week. */
function weekOf(date: string): number {
  const time = Date.parse(`${date}T00:00:00Z`);
  if (Number.isNaN(time)) throw new RangeError(`'${date}' is no date like 2026-11-25`);
  const day = time / DAY_MS;
  // 1 January 1970 was a Thursday.
  return day - ((day + 3) % 7);
}

/** The names of those that neither rule keeps, oldest first. */
export function outdated(snapshots: readonly DatedSnapshot[], keep: Keep): readonly string[] {
  const newestFirst = snapshots.toSorted((a, b) => (a.date < b.date ? 1 : -1));
  const days = new Set<string>();
  const weeks = new Set<number>();
  const gone: string[] = [];
  for (const { name, date } of newestFirst) {
    const week = weekOf(date);
    const isDaily = !days.has(date) && days.size < keep.daily;
    const isWeekly = !weeks.has(week) && weeks.size < keep.weekly;
    days.add(date);
    weeks.add(week);
    if (!isDaily && !isWeekly) gone.unshift(name);
  }
  return gone;
}

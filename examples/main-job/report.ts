/** What the main job has done so far: one line a step, live, and the table at the end. */

export interface StepReport {
  readonly step: string;
  readonly what: string;
  readonly durationMs: number;
}

const steps: StepReport[] = [];

/** Runs one step, times it, and says on stderr what happened. The step's result is its sentence. */
export async function step(name: string, run: () => Promise<string> | string): Promise<void> {
  const started = performance.now();
  const what = await run();
  record({ step: name, what, durationMs: performance.now() - started });
}

export function record(report: StepReport): void {
  takeOver(report);
  process.stderr.write(`${report.step}: ${report.what} (${report.durationMs.toFixed(0)} ms)\n`);
}

/** A step of another program, which has said it already. */
export function takeOver(report: StepReport): void {
  steps.push(report);
}

export function recorded(): readonly StepReport[] {
  return steps;
}

export function reportTable(): string {
  const nameWidth = Math.max(...steps.map((report) => report.step.length));
  const whatWidth = Math.max(...steps.map((report) => report.what.length));
  return [
    `${"step".padEnd(nameWidth)}  ${"what happened".padEnd(whatWidth)}  time`,
    `${"-".repeat(nameWidth)}  ${"-".repeat(whatWidth)}  ---------`,
    ...steps.map(
      (report) =>
        `${report.step.padEnd(nameWidth)}  ${report.what.padEnd(whatWidth)}  ${report.durationMs.toFixed(0).padStart(6)} ms`,
    ),
  ].join("\n");
}

/** Throws with a sentence where a promise of the product does not hold. */
export function mustHold(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new Error(`broken promise: ${promise}`);
}

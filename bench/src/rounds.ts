/** How often what is measured is done: a number, and a time, so that a busy machine ends a run as well. */
import type { Rounds } from "./section.ts";

/** A full run has this many times the time of a quick one. */
const FULL_SECONDS = 3;
/** These are made however long they take: fewer have no median. */
const LEAST_ROUNDS = 2;

export function roundsOf(
  options: { readonly quick: boolean; readonly scale: number },
  nowMs: () => number = () => performance.now(),
): (plan: Rounds) => Generator<number, void, undefined> {
  return function* rounds({ quick, full, quickSeconds }) {
    const wanted = Math.max(1, Math.round((options.quick ? quick : full) * options.scale));
    const seconds = options.quick ? quickSeconds : quickSeconds * FULL_SECONDS;
    const endMs = nowMs() + seconds * 1000;
    for (let round = 0; round < wanted; round += 1) {
      if (round >= LEAST_ROUNDS && nowMs() >= endMs) return;
      yield round;
    }
  };
}

/**
 * Work on thousands of things, in slices: a turn of the event loop does one slice of one call, however many
 * calls there are, so that no other waits for longer than that.
 */

/** Devices, or what is like them, of one slice: each costs some microseconds. */
export const ITEMS_PER_TURN = 100;

const waiting: (() => void)[] = [];

/** Resolves in a turn in which no other slice runs. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    if (waiting.length === 1) setImmediate(wake);
  });
}

function wake(): void {
  waiting[0]?.();
  waiting.shift();
  // What an immediate sets runs in the next turn; several that were set before all run in one.
  if (waiting.length > 0) setImmediate(wake);
}

export function slicesOf<Item>(items: readonly Item[]): readonly (readonly Item[])[] {
  const count = Math.ceil(items.length / ITEMS_PER_TURN);
  return Array.from({ length: count }, (_, index) =>
    items.slice(index * ITEMS_PER_TURN, (index + 1) * ITEMS_PER_TURN),
  );
}

/** Operations on the same key run one after another; those on different keys do not wait for each other. */
import { RequestError } from "./errors.ts";

/**
 * Operations of one user that may wait for one key; the next one is told at once. Others' places are theirs:
 * a turn is waited for before anybody looks at whether its caller may have it.
 */
export const MAX_WAITING_PER_KEY = 128;

interface Line {
  tail: Promise<unknown>;
  length: number;
  /** Of each user that has some in it. */
  readonly own: Map<number, number>;
}

export class KeyedQueue {
  readonly #lines = new Map<string, Line>();

  /** `uid`: whose operation it is; undefined: the daemon's own, which is never refused. */
  async run<T>(key: string, operation: string, task: () => Promise<T>, uid?: number): Promise<T> {
    const line = this.#lines.get(key) ?? { tail: Promise.resolve(), length: 0, own: new Map() };
    if (uid !== undefined && (line.own.get(uid) ?? 0) >= MAX_WAITING_PER_KEY) {
      throw new RequestError({
        code: "LIMIT",
        operation,
        object: key,
        reason: `${MAX_WAITING_PER_KEY} operations of yours wait for it already`,
      });
    }
    this.#lines.set(key, line);
    count(line, uid, 1);
    const result = line.tail.then(task);
    // The outcome goes to the caller by `result`; the next in line only needs to know that it is over.
    line.tail = result.catch(() => undefined);
    try {
      return await result;
    } finally {
      count(line, uid, -1);
      if (line.length === 0) this.#lines.delete(key);
    }
  }
}

function count(line: Line, uid: number | undefined, more: 1 | -1): void {
  line.length += more;
  if (uid === undefined) return;
  const own = (line.own.get(uid) ?? 0) + more;
  if (own === 0) line.own.delete(uid);
  else line.own.set(uid, own);
}

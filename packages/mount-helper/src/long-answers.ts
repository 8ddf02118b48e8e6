/** Answers with a list of thousands, checked and encoded in slices. */
import type { MethodName, MethodResult, RequestId } from "@thinpool/protocol";
import { encodeSuccess, parseResult } from "@thinpool/protocol";
import { ITEMS_PER_TURN, nextTurn, slicesOf } from "./turns.ts";

/** A list within a result, or the result itself. */
export interface LongList {
  readonly items: readonly unknown[];
  /** From the result to it. */
  readonly path: readonly string[];
}

/** The first list that is longer than a slice; undefined: the answer is made in one turn. */
export function longListOf(result: unknown): LongList | undefined {
  if (Array.isArray(result)) {
    return result.length > ITEMS_PER_TURN ? { items: result, path: [] } : undefined;
  }
  if (typeof result !== "object" || result === null) return undefined;
  for (const [key, value] of Object.entries(result)) {
    const inner = longListOf(value);
    if (inner !== undefined) return { ...inner, path: [key, ...inner.path] };
  }
  return undefined;
}

/**
 * The same text as `encodeSuccess` of the result. Throws where it does not fit the method's schema.
 * `assertFits` is told of the text's bytes as they become more.
 */
export async function encodeLong(
  { id, method }: { readonly id: RequestId; readonly method: MethodName },
  result: unknown,
  { items, path }: LongList,
  assertFits: (bytes: number) => void,
): Promise<string> {
  const rest = checked(method, withAt(result, path, []));
  const envelope = encodeSuccess(id, method, rest);
  const parts: string[] = [];
  let bytes = Buffer.byteLength(envelope);
  for (const slice of slicesOf(items)) {
    await nextTurn();
    // A list fits its schema where each of its slices does.
    const fitting = checked(method, withAt(rest, path, slice));
    const comma = parts.length === 0 ? "" : ",";
    const text = comma + JSON.stringify(at(fitting, path)).slice(1, -1);
    bytes += Buffer.byteLength(text);
    assertFits(bytes);
    parts.push(text);
  }
  await nextTurn();
  // All of it is put together once: it is some megabytes.
  return [...around(JSON.parse(envelope), ["result", ...path], parts)].join("");
}

function checked<M extends MethodName>(method: M, result: unknown): MethodResult<M> {
  const parsed = parseResult(method, result);
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.value;
}

type Fields = Readonly<Record<string, unknown>>;

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce((inner, key) => (inner as Fields)[key], value);
}

/** The value with the list in its place. */
function withAt(value: unknown, [key, ...deeper]: readonly string[], list: unknown): unknown {
  if (key === undefined) return list;
  const fields = value as Fields;
  return { ...fields, [key]: withAt(fields[key], deeper, list) };
}

/** The value's text, with the parts of another one in the list's place. */
function* around(
  value: unknown,
  [key, ...deeper]: readonly string[],
  list: readonly string[],
): Generator<string> {
  if (key === undefined) {
    yield "[";
    yield* list;
    yield "]";
    return;
  }
  let before = "{";
  for (const [name, field] of Object.entries(value as Fields)) {
    yield `${before}${JSON.stringify(name)}:`;
    if (name === key) yield* around(field, deeper, list);
    else yield JSON.stringify(field);
    before = ",";
  }
  yield "}";
}

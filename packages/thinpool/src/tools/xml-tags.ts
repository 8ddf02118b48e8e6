/**
 * Reads the tags of a stream of XML, one after another, with bounded memory.
 *
 * Our own and not a library: what thin_dump and thin_delta print is tags with attributes that are
 * numbers, without text, entities or namespaces. Forty lines read that; and a parser of all of XML
 * would be the larger risk in a program that runs as root. Unknown tags and attributes pass through,
 * since newer tools add some.
 */

/** No tag of the tools comes near it; longer input is not theirs. */
const MAX_TAG_LENGTH = 4096;
const ATTRIBUTE = /([A-Za-z_][\w.-]*)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;

export interface Tag {
  readonly name: string;
  /** "open" for `<a>`, "close" for `</a>`, "empty" for `<a/>`. */
  readonly kind: "open" | "close" | "empty";
  readonly attributes: ReadonlyMap<string, string>;
}

export async function* readTags(chunks: AsyncIterable<Buffer | string>): AsyncGenerator<Tag> {
  let rest = "";
  for await (const chunk of chunks) {
    rest += typeof chunk === "string" ? chunk : chunk.toString("latin1");
    let from = 0;
    for (;;) {
      const start = rest.indexOf("<", from);
      if (start < 0) {
        from = rest.length;
        break;
      }
      const end = rest.indexOf(">", start);
      if (end < 0) {
        from = start;
        break;
      }
      from = end + 1;
      const body = rest.slice(start + 1, end);
      if (!body.startsWith("?") && !body.startsWith("!")) yield parseTag(body);
    }
    rest = rest.slice(from);
    if (rest.length > MAX_TAG_LENGTH) throw new SyntaxError("a tag without an end");
  }
  if (rest.trim() !== "") throw new SyntaxError(`it ends within a tag: ${rest.slice(0, 80)}`);
}

function parseTag(body: string): Tag {
  const name = /^\/?\s*([A-Za-z_][\w.-]*)/.exec(body)?.[1];
  if (name === undefined) throw new SyntaxError(`a tag without a name: ${body.slice(0, 80)}`);
  const attributes = new Map<string, string>();
  for (const [, key = "", double, single] of body.matchAll(ATTRIBUTE)) {
    attributes.set(key, double ?? single ?? "");
  }
  const kind = body.startsWith("/") ? "close" : body.endsWith("/") ? "empty" : "open";
  return { name, kind, attributes };
}

/** An attribute that must be a whole number. */
export function numberOf(tag: Tag, name: string): bigint {
  const text = tag.attributes.get(name);
  if (text === undefined || !/^\d{1,20}$/.test(text)) {
    throw new SyntaxError(`<${tag.name}>: ${name} is ${JSON.stringify(text)}, no number`);
  }
  return BigInt(text);
}

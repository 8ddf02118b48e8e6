/** What a key does to `top`'s view; pure. */
import { sortKeys, type View } from "./screen.ts";

export interface Key {
  /** The character typed, if it is one. */
  readonly text: string | undefined;
  readonly name: string | undefined;
  readonly ctrl: boolean;
}

/** A name is at most 64 characters long: a filter that is longer finds nothing. */
const MAX_FILTER_LENGTH = 64;

/** The view after the key; "quit" ends. */
export function pressed(view: View, key: Key): View | "quit" {
  if (key.ctrl && key.name === "c") return "quit";
  if (view.typing) return typed(view, key);
  switch (key.text) {
    case "q":
      return "quit";
    case "s": {
      const next = sortKeys[(sortKeys.indexOf(view.sort) + 1) % sortKeys.length];
      return { ...view, sort: next ?? view.sort };
    }
    case "/":
      return { ...view, typing: true, filter: "" };
    default:
      return view;
  }
}

function typed(view: View, { text, name }: Key): View {
  if (name === "return" || name === "enter") return { ...view, typing: false };
  if (name === "escape") return { ...view, typing: false, filter: "" };
  if (name === "backspace") return { ...view, filter: view.filter.slice(0, -1) };
  if (text === undefined || !/^[\w.+-]$/.test(text)) return view;
  return { ...view, filter: (view.filter + text).slice(0, MAX_FILTER_LENGTH) };
}

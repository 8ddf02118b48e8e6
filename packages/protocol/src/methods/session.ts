/** session.*: what belongs to a client beyond one connection. */
import * as v from "valibot";
import type { Methods } from "./method.ts";
import { uuid } from "./scalars.ts";

/** Proves that a session is one's own; as secret as a password. */
export const sessionSecret = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{43}$/));

export const session = v.object({
  id: uuid,
  secret: sessionSecret,
  /** How long it outlives its connection; after that what it holds is released. */
  graceMs: v.pipe(v.number(), v.integer(), v.minValue(0)),
});

export const sessionMethods = {
  "session.resume": {
    changes: false,
    summary: "Makes an earlier session of the caller's this connection's, in place of its own.",
    params: v.object({ id: uuid, secret: sessionSecret }),
    result: v.object({ graceMs: v.pipe(v.number(), v.integer(), v.minValue(0)) }),
  },
} as const satisfies Methods;

/** What a method is made of. Everything else about it (types, checks, the OpenRPC document) follows. */
import type * as v from "valibot";

export interface MethodSchema {
  /** It alters something, so it is audited, and never sent again by itself after a cut. */
  readonly changes: boolean;
  /** One sentence for the published document. */
  readonly summary: string;
  readonly params: v.GenericSchema;
  readonly result: v.GenericSchema;
}

/** The methods of one topic, all of whose names begin with it. */
export type Methods = Readonly<Record<string, MethodSchema>>;

/** Tokens as text; their secrets are told by `token create` alone. */
import { tokenVerb } from "@thinpool/protocol";
import type { TokenEntry } from "@thinpool/sdk";
import { renderTable } from "./table.ts";

export const TOKEN_VERBS = tokenVerb.options;

export function renderTokens(tokens: readonly TokenEntry[]): string {
  return renderTable<TokenEntry>(
    [
      { heading: "ID", value: ({ id }) => id },
      { heading: "DEVICE", value: ({ device }) => device },
      { heading: "ALLOWS", value: ({ allow }) => allow.join(",") },
      {
        heading: "USER",
        align: "right",
        value: ({ uid }) => (uid === undefined ? "any" : `${uid}`),
      },
      { heading: "CREATOR", align: "right", value: ({ creatorUid }) => String(creatorUid) },
      { heading: "ENDS", value: ({ expiresAtMs }) => new Date(expiresAtMs).toISOString() },
    ],
    tokens,
  );
}

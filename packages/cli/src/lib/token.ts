/** Tokens as text; their secrets are told by `token create` and `token connect` alone. */
import { tokenVerb } from "@thinpool/protocol";
import type { ConnectTokenEntry, TokenEntry } from "@thinpool/sdk";
import { renderTable } from "./table.ts";

export const TOKEN_VERBS = tokenVerb.options;
export const DEFAULT_LIFETIME_MS: number = 60 * 60 * 1000;

const ORIGIN_AND_END = [
  {
    heading: "CREATOR",
    align: "right",
    value: ({ creatorUid }: TokenEntry | ConnectTokenEntry) => String(creatorUid),
  },
  {
    heading: "ENDS",
    value: ({ expiresAtMs }: TokenEntry | ConnectTokenEntry) => new Date(expiresAtMs).toISOString(),
  },
] as const;

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
      ...ORIGIN_AND_END,
    ],
    tokens,
  );
}

export function renderConnectTokens(tokens: readonly ConnectTokenEntry[]): string {
  return renderTable<ConnectTokenEntry>(
    [
      { heading: "ID", value: ({ id }) => id },
      { heading: "USER", align: "right", value: ({ uid }) => String(uid) },
      ...ORIGIN_AND_END,
    ],
    tokens,
  );
}

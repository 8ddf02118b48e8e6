/** The daemon's names for completion: quickly, or none. */
import { errorCodeNames } from "@thinpool/protocol";
import { connect } from "@thinpool/sdk";
import type { LiveNames } from "./candidates.ts";

/** A shell that hangs for longer at a key press is worse than one without names. */
const TIMEOUT_MS = 1_000;

export function daemonNames(socketPath: string): LiveNames {
  return {
    devices: async () => {
      await using client = await connect({ socketPath, timeoutMs: TIMEOUT_MS });
      return (await client.list()).map(({ name }) => name);
    },
    references: async () => {
      await using client = await connect({ socketPath, timeoutMs: TIMEOUT_MS });
      return (await client.mounts()).map(({ reference }) => reference);
    },
    errorCodes: () => errorCodeNames,
  };
}

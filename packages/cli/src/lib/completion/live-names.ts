/** The daemon's names for completion: quickly, or none. */
import { type Client, connect } from "@thinpool/sdk";
import { codesWithExitCode } from "../exit-codes.ts";
import { imagesOf } from "../image.ts";
import { connectOptionsOf } from "../target.ts";
import type { LiveNames } from "./candidates.ts";

/** A shell that hangs for longer at a key press is worse than one without names. */
const TIMEOUT_MS = 1_000;

export function daemonNames(environment: Readonly<Record<string, string | undefined>>): LiveNames {
  const ask = async (question: (client: Client) => Promise<readonly string[]>) => {
    const target = await connectOptionsOf({}, environment);
    await using client = await connect({ ...target, timeoutMs: TIMEOUT_MS });
    return await question(client);
  };
  return {
    devices: () => ask(async (client) => (await client.list()).map(({ name }) => name)),
    images: () => ask(async (client) => imagesOf(await client.list()).map(({ name }) => name)),
    references: () =>
      ask(async (client) => (await client.mounts()).map(({ reference }) => reference)),
    tokens: () =>
      ask(async ({ rights }) => {
        const all = await Promise.all([rights.tokens(), rights.connectTokens()]);
        return all.flat().map(({ id }) => id);
      }),
    errorCodes: () => codesWithExitCode,
  };
}

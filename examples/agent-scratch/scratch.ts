/**
 * A scratch tree per agent that goes when nobody asks for it any more:
 * `scratch.ts open IMAGE AGENT SECONDS`, `scratch.ts renew AGENT SECONDS`, `scratch.ts end AGENT`.
 * What is printed is the tree's place, or nothing.
 */
import type { Client, MountEntry } from "@thinpool/sdk";
import { connect, hasCode } from "@thinpool/sdk";

const nameOf = (agent: string): string => `scratch-${agent}`;

async function find(client: Client, agent: string): Promise<MountEntry | undefined> {
  return (await client.mounts()).find(({ device }) => device === nameOf(agent));
}

/**
 * The agent's tree, a clone of `image` the first time. It outlives this client: it goes, and what is in
 * it, `ttlMs` after it was last opened or renewed.
 */
export async function openScratch(
  client: Client,
  options: { readonly image: string; readonly agent: string; readonly ttlMs: number },
): Promise<string> {
  const { image, agent, ttlMs } = options;
  const held = await renewScratch(client, { agent, ttlMs });
  if (held !== undefined) return held;
  const clone = await client.clone({ origin: image, name: nameOf(agent), ephemeral: true });
  return (await clone.mount({ holder: { type: "lease", ttlMs } })).path;
}

/** The time to live begins anew. Undefined where the agent has no tree, or no longer. */
export async function renewScratch(
  client: Client,
  options: { readonly agent: string; readonly ttlMs: number },
): Promise<string | undefined> {
  const mount = await find(client, options.agent);
  if (mount === undefined) return undefined;
  try {
    const { reference } = mount;
    return (await client.renew({ reference, ttlMs: options.ttlMs })).path;
  } catch (error) {
    // It ended between the two calls.
    if (hasCode(error, "NOT_MOUNTED")) return undefined;
    throw error;
  }
}

/** At once. BUSY while a process works in it. */
export async function endScratch(client: Client, agent: string): Promise<void> {
  const mount = await find(client, agent);
  if (mount !== undefined) await client.release({ reference: mount.reference });
}

if (import.meta.main) {
  const [verb, ...rest] = process.argv.slice(2);
  const ttlMs = Number(rest.at(-1)) * 1000;
  // Closing this client stops its renewals; the lease runs on without it.
  await using client = await connect();
  let path: string | undefined;
  if (verb === "open" && rest.length === 3) {
    const [image = "", agent = ""] = rest;
    path = await openScratch(client, { image, agent, ttlMs });
  } else if (verb === "renew" && rest.length === 2) {
    path = await renewScratch(client, { agent: rest[0] ?? "", ttlMs });
  } else if (verb === "end" && rest.length === 1) {
    await endScratch(client, rest[0] ?? "");
  } else {
    throw new Error("usage: scratch.ts open IMAGE AGENT SECONDS | renew AGENT SECONDS | end AGENT");
  }
  if (path !== undefined) process.stdout.write(`${path}\n`);
}

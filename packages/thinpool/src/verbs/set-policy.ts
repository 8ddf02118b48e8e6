import type { Engine } from "../engine.ts";
import { changedPolicy, type SpacePolicy, type SpacePolicyChange } from "../space/policy.ts";

export interface SetPolicyResult {
  readonly outcome: "changed" | "already-so";
  readonly policy: SpacePolicy;
}

/** Durable when it resolves. Growth goes by it from the next look on. */
export function setPolicy(engine: Engine, change: SpacePolicyChange): Promise<SetPolicyResult> {
  const request = { operation: "policy", object: engine.folder, changes: [] };
  return engine.changeDevices(request, async () => {
    const policy = changedPolicy(engine.policy, change);
    if (samePolicy(policy, engine.policy)) return { outcome: "already-so", policy };
    engine.events.note({ body: { type: "policy-changed" } });
    engine.ledger.space.setPolicy(policy);
    engine.policy = policy;
    await engine.space.applyPolicy();
    return { outcome: "changed", policy };
  });
}

function samePolicy(one: SpacePolicy, other: SpacePolicy): boolean {
  const text = (policy: SpacePolicy): string =>
    JSON.stringify(policy, (_key, value: unknown) =>
      typeof value === "bigint" ? value.toString() : value,
    );
  return text(one) === text(other);
}

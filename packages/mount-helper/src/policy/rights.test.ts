/** Properties of the decision function, over random policies; a failure prints its seed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { patternOf } from "./compile-policy.ts";
import { DEFAULT_LIMITS } from "./access.ts";
import type { DecisionObject, DeviceFacts, Policy, Rule, Users, Who } from "./rights.ts";
import { EMPTY_RULE, NO_RULE, concerns, decide, limitsOf, verbs } from "./rights.ts";

const ROUNDS = 3_000;
const UIDS = [0, 1000, 1001, 1002];
const GIDS = [100, 200, 300];

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Gen {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = random(seed);
  }

  chance(share: number): boolean {
    return this.#next() < share;
  }

  pick<T>(from: readonly T[]): T {
    // The index is within the bounds; the element may be undefined itself.
    return from[Math.floor(this.#next() * from.length)] as T;
  }

  some<T>(from: readonly T[]): Set<T> {
    return new Set(from.filter(() => this.chance(0.3)));
  }

  users(): Users {
    return this.chance(0.15) ? "all" : this.some(UIDS);
  }

  rule(name: string): Rule {
    return {
      ...EMPTY_RULE,
      name,
      users: this.users(),
      groups: this.some(GIDS),
      create: this.chance(0.3),
      clonePublic: this.chance(0.3),
      cloneNames: this.chance(0.3) ? [patternOf("base-*")] : [],
      see: this.users(),
      touch: this.users(),
      onBehalfOf: this.users(),
      admin: this.chance(0.2),
      connect: this.chance(0.2),
      limits: this.chance(0.3) ? { devices: Math.floor(this.#next() * 10) } : {},
    };
  }

  policy(): Policy {
    return {
      rules: Array.from({ length: this.pick([0, 1, 2, 4]) }, (_, at) => this.rule(`r${at}`)),
    };
  }

  who(): Who {
    return { uid: this.pick(UIDS), gid: this.pick(GIDS), groups: [...this.some(GIDS)] };
  }

  device(): DeviceFacts {
    const name = this.pick(["base-1", "x-base-1", "other"]);
    return { name, ownerUid: this.pick(UIDS), isPublic: this.chance(0.5) };
  }

  object(): DecisionObject {
    const device = this.device();
    return this.pick<DecisionObject>([undefined, { device }, { uid: this.pick(UIDS) }]);
  }
}

function everyRound(check: (gen: Gen, label: string) => void): void {
  for (let seed = 1; seed <= ROUNDS; seed += 1) check(new Gen(seed), `seed ${seed}`);
}

test("root may all, and nobody else anything where no rule is about him", () => {
  everyRound((gen, label) => {
    const [policy, who, object] = [gen.policy(), gen.who(), gen.object()];
    for (const verb of verbs) {
      const { allowed, rule } = decide(policy, who, verb, object);
      if (who.uid === 0) assert.equal(allowed, true, label);
      else if (!policy.rules.some((each) => concerns(each, who))) {
        assert.deepEqual([allowed, rule], [false, NO_RULE], label);
      }
    }
  });
});

test("the rule that is named allows it alone, and taking all others away changes nothing", () => {
  everyRound((gen, label) => {
    const [policy, who, object] = [gen.policy(), gen.who(), gen.object()];
    if (who.uid === 0) return;
    for (const verb of verbs) {
      const decision = decide(policy, who, verb, object);
      if (!decision.allowed) continue;
      const alone = policy.rules.filter(({ name }) => name === decision.rule);
      assert.equal(alone.length, 1, label);
      assert.deepEqual(decide({ rules: alone }, who, verb, object), decision, label);
    }
  });
});

test("a rule that is added takes nothing from anybody", () => {
  everyRound((gen, label) => {
    const [policy, who, object, added] = [gen.policy(), gen.who(), gen.object(), gen.rule("new")];
    const larger = { rules: [added, ...policy.rules] };
    for (const verb of verbs) {
      const before = decide(policy, who, verb, object).allowed;
      if (before) assert.equal(decide(larger, who, verb, object).allowed, true, label);
    }
  });
});

test("another user's device is cloned by nobody, whatever its name and flag", () => {
  everyRound((gen, label) => {
    const [policy, who, device] = [gen.policy(), gen.who(), gen.device()];
    if (who.uid === 0 || device.ownerUid === 0 || device.ownerUid === who.uid) return;
    assert.equal(decide(policy, who, "clone", { device }).allowed, false, label);
  });
});

test("what may be cloned or touched may be seen", () => {
  everyRound((gen, label) => {
    const [policy, who, device] = [gen.policy(), gen.who(), gen.device()];
    const may = (verb: "clone" | "touch" | "see"): boolean =>
      decide(policy, who, verb, { device }).allowed;
    if (may("clone") || may("touch")) assert.equal(may("see"), true, label);
  });
});

test("nobody acts on behalf of root", () => {
  everyRound((gen, label) => {
    const [policy, who] = [gen.policy(), gen.who()];
    if (who.uid === 0) return;
    assert.equal(decide(policy, who, "on-behalf-of", { uid: 0 }).allowed, false, label);
  });
});

test("a limit is that of the first rule about the caller that states it", () => {
  everyRound((gen, label) => {
    const [policy, who] = [gen.policy(), gen.who()];
    const first = policy.rules.find(
      (rule) => concerns(rule, who) && rule.limits.devices !== undefined,
    );
    const { devices, mounts } = limitsOf(policy, who, DEFAULT_LIMITS);
    assert.equal(devices, first?.limits.devices ?? DEFAULT_LIMITS.devices, label);
    assert.equal(mounts, DEFAULT_LIMITS.mounts, label);
  });
});

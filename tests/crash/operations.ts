/**
 * What a history is made of: each operation picks what it works on, runs on the pool, and says what
 * it does to the model. Its effect is all or nothing, so the model after it is one of two.
 */
import type { SimKernel } from "@thinpool/dm-sim";
import type { ThinPool } from "@thinpool/thinpool";
import { type Model, type ModelDevice, withDevice, without } from "./model.ts";
import type { Random } from "./random.ts";

export interface Step {
  /** For traces and reports. */
  readonly what: string;
  /** The devices that it works on: steps that run at once share none, but where they mean to. */
  readonly touches: readonly string[];
  readonly run: (pool: ThinPool, kernel: SimKernel) => Promise<unknown>;
  /** The model once it has happened; `before` is that before all steps that ran with it. */
  readonly effect: (model: Model, before: Model) => Model;
}

interface Verb {
  /** How often it is picked, against the others. */
  readonly weight: number;
  /** Undefined where the model has nothing for it to work on. */
  readonly plan: (random: Random, model: Model) => Step | undefined;
}

const NAMES: readonly string[] = ["a", "b", "c", "d", "e", "f", "g"];
const SIZES: readonly bigint[] = [1n << 20n, 4n << 20n, 8n << 20n];

const unchanged = (model: Model): Model => model;

function present(random: Random, model: Model): ModelDevice | undefined {
  return model.size === 0 ? undefined : random.pick([...model.values()]);
}

/** Mostly a free name; now and then a taken one, that the pool must refuse. */
function freshName(random: Random, model: Model): string {
  const free = NAMES.filter((name) => !model.has(name));
  return free.length === 0 || random.chance(8) ? random.pick(NAMES) : random.pick(free);
}

/** The effect of making a device; nothing where the name is taken. */
function making(device: ModelDevice): Step["effect"] {
  return (model) => (model.has(device.name) ? model : withDevice(model, device));
}

const create: Verb = {
  weight: 12,
  plan(random, model) {
    const name = freshName(random, model);
    const filesystem = random.pick(["none", "none", "ext4"] as const);
    const sizeBytes = random.pick(SIZES);
    const ownerUid = random.pick([0, 1000]);
    const device = { name, sizeBytes, filesystem, ownerUid, content: new Map() };
    return {
      what: `create ${name} ${filesystem}`,
      touches: [name],
      run: (pool) => pool.createDevice({ name, sizeBytes, filesystem, ownerUid }),
      effect: making(device),
    };
  },
};

const snapshot: Verb = {
  weight: 20,
  plan(random, model) {
    const origin = present(random, model);
    if (origin === undefined) return undefined;
    const name = freshName(random, model);
    const activate = random.chance(50);
    return {
      what: `snapshot ${origin.name} as ${name}${activate ? ", active" : ""}`,
      touches: [origin.name, name],
      run: (pool) => pool.snapshot({ origin: origin.name, name, activate }),
      effect(model_, before) {
        const source = before.get(origin.name) ?? origin;
        // What it holds was flushed before the kernel took the message.
        const content = new Map(
          [...source.content].map(([page, { now }]) => [page, { now, cut: now }]),
        );
        return making({ ...source, name, content })(model_, before);
      },
    };
  },
};

const remove: Verb = {
  weight: 14,
  plan(random, model) {
    const device = present(random, model);
    if (device === undefined) return undefined;
    const { name } = device;
    return {
      what: `remove ${name}`,
      touches: [name],
      run: (pool) => pool.remove({ name }),
      effect: (model_) => without(model_, name),
    };
  },
};

function state(verb: "activate" | "deactivate", weight: number): Verb {
  return {
    weight,
    plan(random, model) {
      const device = present(random, model);
      if (device === undefined) return undefined;
      const { name } = device;
      return {
        what: `${verb} ${name}`,
        touches: [name],
        run: (pool) => pool[verb]({ name }),
        effect: unchanged,
      };
    },
  };
}

const missing: Verb = {
  weight: 2,
  plan: () => ({
    what: "remove what is not there",
    touches: [],
    run: (pool) => pool.remove({ name: "nobody" }),
    effect: unchanged,
  }),
};

const status: Verb = {
  weight: 3,
  plan: () => ({
    what: "status",
    touches: [],
    run: (pool) => pool.status(),
    effect: unchanged,
  }),
};

export const VERBS: readonly Verb[] = [
  create,
  snapshot,
  remove,
  state("activate", 10),
  state("deactivate", 6),
  missing,
  status,
];

const TOTAL = VERBS.reduce((sum, { weight }) => sum + weight, 0);

function pickVerb(random: Random): Verb {
  let left = random.below(TOTAL);
  for (const verb of VERBS) {
    left -= verb.weight;
    if (left < 0) return verb;
  }
  return random.pick(VERBS);
}

/** At most this many run at once: the judge tries every subset of those that a death cut short. */
export const MAX_AT_ONCE = 4;
/** How often two steps, and no third, may work on the same device at once. */
const CLASH_PERCENT = 10;

/** Steps to be asked for at the same time. */
export function planBatch(random: Random, model: Model): readonly Step[] {
  const count = random.chance(45) ? 1 : random.between(2, MAX_AT_ONCE);
  const steps: Step[] = [];
  for (let tried = 0; tried < count; tried += 1) {
    const step = pickVerb(random).plan(random, model);
    if (step === undefined) continue;
    if (!steps.some((other) => other.touches.some((name) => step.touches.includes(name)))) {
      steps.push(step);
    } else if (steps.length === 1 && random.chance(CLASH_PERCENT)) {
      return [...steps, step];
    }
  }
  return steps;
}

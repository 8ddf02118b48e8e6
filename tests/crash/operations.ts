/**
 * What a history is made of: each operation picks what it works on, runs on the pool, and says what
 * it does to the model. Its effect is all or nothing, so the model after it is one of two.
 */
import type { SimKernel } from "@thinpool/dm-sim";
import type { ThinPool } from "@thinpool/thinpool";
import { GOLDEN, GOLDEN_CONTENT } from "./contents.ts";
import { discarded, frozen, type Model, type ModelDevice, withDevice, without } from "./model.ts";
import { Random } from "./random.ts";

export interface Step {
  /** For traces and reports. */
  readonly what: string;
  /** The devices that it works on: steps that run at once share none, but where they mean to. */
  readonly touches: readonly string[];
  readonly run: (pool: ThinPool, kernel: SimKernel) => Promise<unknown>;
  /** Where it fails half of it may stand, as its documentation says: a device grew, its filesystem not. */
  readonly eitherOnError?: boolean;
  /** It may run at once with another on the same device: either order gives the same model. */
  readonly mayClash?: boolean;
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
    const readOnly_ = random.chance(8);
    const label = random.chance(20) ? "made" : "";
    const isGolden = filesystem === "none" && random.chance(20);
    const base = isGolden ? GOLDEN_CONTENT : new Map();
    const device = {
      name,
      sizeBytes,
      filesystem,
      ownerUid,
      readOnly: readOnly_,
      label,
      identity: random.next(),
      origin: undefined,
      content: base,
      base,
      firstBlock: random.next(),
    };
    const options = {
      name,
      sizeBytes,
      filesystem,
      ownerUid,
      readOnly: readOnly_,
      labels: label === "" ? {} : { soak: label },
      ...(isGolden ? { externalOrigin: GOLDEN.path } : {}),
    };
    return {
      what: `create ${name} ${filesystem}${isGolden ? " from a disk" : ""}`,
      mayClash: true,
      touches: [name],
      run: (pool) => pool.createDevice(options),
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
    const made = snapshotOf(origin, name, random.next());
    return {
      what: `snapshot ${origin.name} as ${name}${activate ? ", active" : ""}`,
      mayClash: true,
      touches: [origin.name, name],
      run: (pool) => pool.snapshot({ origin: origin.name, name, activate }),
      effect: (model_, before) => making(made(before))(model_, before),
    };
  },
};

/** The snapshot as it is by the model of its moment. */
function snapshotOf(origin: ModelDevice, name: string, identity: number) {
  return (before: Model): ModelDevice => {
    const source = before.get(origin.name) ?? origin;
    return {
      ...source,
      name,
      identity,
      origin: source.identity,
      readOnly: false,
      label: "",
      content: frozen(source.content),
    };
  };
}

/** Several at one moment: all of them or none. */
const snapshotMany: Verb = {
  weight: 6,
  plan(random, model) {
    const free = NAMES.filter((name) => !model.has(name));
    const origins = [...model.values()].slice(0, random.between(2, 3));
    if (origins.length < 2 || free.length < origins.length) return undefined;
    const pairs = origins.map((origin, index) => ({ origin, name: free[index] ?? "" }));
    const made = pairs.map(({ origin, name }) => snapshotOf(origin, name, random.next()));
    return {
      what: `snapshots of ${origins.map(({ name }) => name).join()}`,
      touches: pairs.flatMap(({ origin, name }) => [origin.name, name]),
      run: (pool) =>
        pool.snapshotMany({
          snapshots: pairs.map(({ origin, name }) => ({ origin: origin.name, name })),
        }),
      effect: (model_, before) =>
        made.reduce((result, make) => making(make(before))(result, before), model_),
    };
  },
};

/** A change of one device that is there; nothing where it has gone. */
function changing(name: string, change: (device: ModelDevice, before: Model) => ModelDevice) {
  return (model: Model, before: Model): Model => {
    const device = model.get(name);
    return device === undefined ? model : withDevice(model, change(device, before));
  };
}

const rename: Verb = {
  weight: 6,
  plan(random, model) {
    const device = present(random, model);
    if (device === undefined) return undefined;
    const { name } = device;
    const to = freshName(random, model);
    return {
      what: `rename ${name} to ${to}`,
      touches: [name, to],
      run: (pool) => pool.rename({ name, to }),
      effect(model_) {
        const found = model_.get(name);
        if (found === undefined || (name !== to && model_.has(to))) return model_;
        return withDevice(without(model_, name), { ...found, name: to });
      },
    };
  },
};

const resize: Verb = {
  weight: 6,
  plan(random, model) {
    const device = present(random, model);
    if (device === undefined) return undefined;
    const { name, filesystem } = device;
    // A filesystem that a restore may have lost can't grow.
    if (filesystem !== "none" && device.firstBlock === undefined) return undefined;
    const sizeBytes = device.sizeBytes + (1n << 20n);
    const firstBlock = filesystem === "none" ? device.firstBlock : random.next();
    return {
      what: `grow ${name}`,
      touches: [name],
      eitherOnError: filesystem !== "none",
      run: (pool) => pool.resize({ name, sizeBytes }),
      effect: changing(name, (found) => ({ ...found, sizeBytes, firstBlock })),
    };
  },
};

const update: Verb = {
  weight: 5,
  plan(random, model) {
    const device = present(random, model);
    if (device === undefined) return undefined;
    const { name } = device;
    const label = String(random.below(1000));
    const ownerUid = random.pick([0, 1000, 1001]);
    return {
      what: `label ${name}`,
      touches: [name],
      run: (pool) => pool.update({ name, ownerUid, labels: { soak: label } }),
      effect: changing(name, (found) => ({ ...found, label, ownerUid })),
    };
  },
};

const readOnly: Verb = {
  weight: 2,
  plan(random, model) {
    const device = present(random, model);
    if (device === undefined) return undefined;
    const { name } = device;
    const wanted = !device.readOnly;
    return {
      what: `${name} ${wanted ? "read-only" : "writable"}`,
      touches: [name],
      run: (pool) => pool.update({ name, readOnly: wanted }),
      effect: changing(name, (found) => ({ ...found, readOnly: wanted })),
    };
  },
};

const revert: Verb = {
  weight: 6,
  plan(random, model) {
    const devices = [...model.values()];
    const pairs = devices.flatMap((source) =>
      devices
        .filter(({ identity }) => identity === source.origin)
        .map((device) => ({ device, source })),
    );
    if (pairs.length === 0) return undefined;
    const { device, source } = random.pick(pairs);
    const { name } = device;
    return {
      what: `revert ${name} to ${source.name}`,
      touches: [name, source.name],
      run: (pool) => pool.revert({ name, snapshot: source.name }),
      effect: changing(name, (found, before) => {
        const { sizeBytes, filesystem, content, base, firstBlock } =
          before.get(source.name) ?? source;
        return { ...found, sizeBytes, filesystem, content: frozen(content), base, firstBlock };
      }),
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
      mayClash: true,
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
        mayClash: true,
        touches: [name],
        run: (pool) => pool[verb]({ name }),
        effect: unchanged,
      };
    },
  };
}

/** It goes at its last close, which is at once where nobody has it open. */
const deferred: Verb = {
  weight: 3,
  plan(random, model) {
    const device = present(random, model);
    if (device === undefined) return undefined;
    const { name } = device;
    return {
      what: `deactivate ${name} in time`,
      mayClash: true,
      touches: [name],
      run: (pool) => pool.deactivate({ name, deferred: true }),
      effect: unchanged,
    };
  },
};

const discard: Verb = {
  weight: 4,
  plan(random, model) {
    const device = present(random, model);
    // A read-only one is refused; a filesystem would go with the rest.
    if (device === undefined || device.readOnly || device.filesystem !== "none") return undefined;
    const { name } = device;
    return {
      what: `discard ${name}`,
      touches: [name],
      eitherOnError: true,
      run: (pool) => pool.discard({ name }),
      effect: changing(name, (found) => ({ ...found, content: discarded(found) })),
    };
  },
};

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

/** What reads or enlarges the pool as a whole: no device is another after it. */
function ofPool(
  what: string,
  weight: number,
  run: (pool: ThinPool, random: Random) => (() => Promise<unknown>) | undefined,
): Verb {
  return {
    weight,
    plan: (random) => ({
      what,
      // Never two of a kind at once: a pool is asked to grow to one size at a time.
      touches: [`the pool: ${what}`],
      // What it asks for is drawn when it is planned: a run draws nothing.
      run: (
        (seed) => (pool: ThinPool) =>
          run(pool, new Random(seed))?.() ?? Promise.resolve()
      )(random.next()),
      effect: unchanged,
    }),
  };
}

const DATA_STEPS: readonly bigint[] = [64n << 20n, 68n << 20n, 72n << 20n];
const METADATA_STEPS: readonly bigint[] = [4n << 20n, 5n << 20n];

const extend = ofPool("extend", 4, (pool, random) => {
  const dataBytes = random.pick(DATA_STEPS);
  const metadataBytes = random.pick(METADATA_STEPS);
  return async () => {
    const { dataTotalBytes, metadataTotalBytes } = await pool.status();
    await pool.extend({
      dataBytes: dataBytes > dataTotalBytes ? dataBytes : dataTotalBytes,
      ...(metadataBytes > metadataTotalBytes ? { metadataBytes } : {}),
    });
  };
});

const usage = ofPool("usage", 2, (pool) => () => pool.usage({ maxAgeMs: 0 }));
const check = ofPool("check", 2, (pool) => () => pool.check());
const backup = ofPool("backup", 2, (pool) => () => pool.backup({ keep: 4 }));

const policy = ofPool("policy", 2, (pool, random) => {
  const giveBackRemoved = random.chance(50);
  const onNoSpace = random.pick(["queue_if_no_space", "error_if_no_space"] as const);
  return () => pool.setPolicy({ giveBackRemoved, onNoSpace });
});

const changedBlocks = ofPool("changed blocks", 3, (pool, random) => {
  const names = pool.list().map(({ name }) => name);
  if (names.length < 2) return undefined;
  const [from, to] = [random.pick(names), random.pick(names)];
  return async () => {
    for await (const { lengthBytes } of pool.changedBlocks({ from, to })) {
      if (lengthBytes <= 0n) throw new Error(`a range of ${lengthBytes} bytes`);
    }
  };
});

export const VERBS: readonly Verb[] = [
  create,
  snapshot,
  snapshotMany,
  rename,
  resize,
  update,
  readOnly,
  revert,
  remove,
  state("activate", 10),
  state("deactivate", 6),
  deferred,
  discard,
  policy,
  missing,
  status,
  extend,
  usage,
  check,
  backup,
  changedBlocks,
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
    } else if (
      steps.length === 1 &&
      steps[0]?.mayClash === true &&
      step.mayClash === true &&
      random.chance(CLASH_PERCENT)
    ) {
      return [...steps, step];
    }
  }
  return steps;
}

/** After a death, or at any quiet moment: is everything there, whole, and nothing else? */
import type { Device, ThinPool } from "@thinpool/thinpool";
import { verifyContent } from "./contents.ts";
import { expect, Finding } from "./finding.ts";
import { describe, type Model, withDevice } from "./model.ts";
import type { Step } from "./operations.ts";
import type { World } from "./world.ts";

/** The models that steps cut short may have left: each of them happened or did not. */
function* outcomes(base: Model, before: Model, pending: readonly Step[]): Generator<Model> {
  for (let subset = 0; subset < 2 ** pending.length; subset += 1) {
    const happened = pending.filter((_, index) => (subset & (1 << index)) !== 0);
    yield happened.reduce((model, step) => step.effect(model, before), base);
    if (happened.length > 1) {
      yield happened.toReversed().reduce((model, step) => step.effect(model, before), base);
    }
  }
}

/**
 * The models that the pool's list fits; `pending` are the steps whose callers were never answered. More
 * than one where a step changes only what a device holds: a revert.
 */
function settle(
  devices: readonly Device[],
  base: Model,
  before: Model,
  pending: readonly Step[],
): readonly Model[] {
  const found = describe(devices);
  const fitting = [...outcomes(base, before, pending)].filter(
    (model) => describe(model.values()) === found,
  );
  if (fitting.length > 0) return fitting;
  const missing = [...base.keys()].filter(
    (name) =>
      !devices.some((device) => device.name === name) &&
      !pending.some((step) => step.touches.includes(name)),
  );
  throw new Finding(
    missing.length > 0 ? "lost" : "failed",
    `the pool has\n${found}\nacknowledged was\n${describe(base.values())}\npending: ${pending.map((step) => step.what).join("; ")}`,
  );
}

function poolPath(pool: ThinPool): string {
  return `/dev/mapper/thinpool-${pool.uuid.slice(0, 8)}-pool`;
}

/** Books that must balance whatever happened: thin ids, transaction ids, suspended devices. */
async function checkBooks(world: World, pool: ThinPool): Promise<void> {
  const { kernel } = world;
  const ids = kernel.checkMetadata(poolPath(pool)).toSorted((a, b) => a - b);
  const recorded = pool
    .list()
    .map((device) => Number(device.thinId))
    .toSorted((a, b) => a - b);
  const extra = ids.filter((id) => !recorded.includes(id));
  expect(extra.length === 0, "leaked", () => `thin ids ${extra.join()} belong to no device`);
  expect(
    ids.length === recorded.length,
    "lost",
    () => `the pool has thin ids ${ids.join()}, recorded are ${recorded.join()}`,
  );
  const { targets } = await kernel.dm.tableStatus(
    { name: poolPath(pool).slice("/dev/mapper/".length) as never },
    { noFlush: true },
  );
  const kernelId = BigInt(targets[0]?.params.split(" ")[0] ?? -1);
  const { transactionId } = await pool.status();
  expect(
    kernelId === transactionId,
    "failed",
    () => `the kernel is at transaction ${kernelId}, the engine at ${transactionId}`,
  );
  const known = new Set([poolPath(pool), ...pool.list().map(({ path }) => path)]);
  for (const { dev, name } of await kernel.dm.listDevices()) {
    const { suspended } = await kernel.dm.deviceStatus({ dev });
    expect(!suspended, "failed", () => `${name} is suspended`);
    expect(known.has(`/dev/mapper/${name}`), "leaked", () => `${name} belongs to no device`);
  }
  for (const { active, path, sizeBytes, name } of pool.list()) {
    if (!active) continue;
    const liveBytes = await kernel.blocks.sizeBytes(path);
    expect(
      liveBytes === sizeBytes,
      "failed",
      () => `${name} has ${liveBytes} of ${sizeBytes} bytes`,
    );
  }
}

/** Contents of all devices, each activated for it where it is not. */
async function checkContents(world: World, pool: ThinPool, model: Model, cut: boolean) {
  let result = model;
  for (const device of pool.list()) {
    const expected = result.get(device.name);
    if (expected === undefined || (expected.content.size === 0 && expected.filesystem === "none")) {
      continue;
    }
    if (!device.active) await pool.activate({ name: device.name });
    const content = await verifyContent(world.kernel, device, expected, cut);
    if (!device.active) await pool.deactivate({ name: device.name });
    result = withDevice(result, { ...expected, content });
  }
  return result;
}

export async function judge(options: {
  readonly world: World;
  readonly pool: ThinPool;
  readonly base: Model;
  readonly before: Model;
  readonly pending: readonly Step[];
  /** The power was cut since the last judgement: what was not flushed may be gone. */
  readonly cut: boolean;
}): Promise<Model> {
  const { world, pool, base, before, pending, cut } = options;
  await checkBooks(world, pool);
  const fitting = settle(pool.list(), base, before, pending);
  let first: Finding | undefined;
  for (const model of fitting) {
    try {
      return await checkContents(world, pool, model, cut);
    } catch (error) {
      if (!(error instanceof Finding)) throw error;
      first ??= error;
    }
  }
  throw first ?? new Finding("failed", "no model fits");
}

/** The last look: everything is taken down, nothing is left on the machine, and no file but the pool's. */
export async function checkNothingLeft(world: World, strangers: readonly string[]): Promise<void> {
  const left = (await world.kernel.leftovers()).filter((what) => !strangers.includes(what));
  expect(left.length === 0, "leaked", () => `left on the machine: ${left.join(", ")}`);
}

/**
 * In the lab's guest, after a power cut: the pool opened, which has thin_check look at the metadata as
 * it was found; every worker's devices in a state from its last acknowledged step on, every file in them
 * right; thin_check again on what recovery and closing made of the metadata, its books those of the
 * ledger, and at the end nothing left on the machine.
 */
import { join } from "node:path";
import { type Kernel, openPool, PoolError, type ThinPool } from "@thinpool/thinpool";
import { expect, Finding } from "./finding.ts";
import { mounted, wrongFile } from "./guest-pool.ts";
import { quote, type ToolShell, withShell } from "./guest-tools.ts";
import { BASE, planStep, type WorkerState, workerPrefix } from "./worker-plan.ts";

/** Acknowledgements that were still on their way when the power went, at most. */
const MAX_UNHEARD = 64;

/** What the host knows of a load that was cut short. */
export interface LoadRecord {
  readonly seed: number;
  /** By worker: its state when the load began, and how many steps were acknowledged since. */
  readonly workers: readonly { readonly state: WorkerState; readonly acknowledged: number }[];
  /** False while not even the pool was acknowledged. */
  readonly created: boolean;
}

/** Undefined: there is no pool, and none was acknowledged. */
export async function checkFolder(options: {
  readonly kernel: Kernel;
  readonly shell: ToolShell;
  readonly folder: string;
  readonly record: LoadRecord;
}): Promise<readonly WorkerState[] | undefined> {
  const { shell, folder, record } = options;
  const kernel = withShell(options.kernel, shell);
  let pool: ThinPool;
  try {
    pool = await openPool({ folder, kernel });
  } catch (error) {
    if (error instanceof PoolError && error.code === "POOL_NOT_FOUND" && !record.created) {
      return undefined;
    }
    throw new Finding("lost", `the pool does not open: ${String(error)}`);
  }
  const states: WorkerState[] = [];
  let books: { readonly ids: readonly number[]; readonly transactionId: bigint };
  try {
    for (const worker of record.workers.keys()) {
      states.push(await checkWorker(kernel, pool, record, worker));
    }
    const known = new Set([BASE, ...states.flatMap((state) => Object.keys(state))]);
    const extra = pool.list().filter(({ name }) => !known.has(name));
    expect(extra.length === 0, "leaked", () => `${extra[0]?.name} belongs to nobody`);
    const { state, transactionId } = await pool.status();
    expect(state === "working", "failed", () => `the pool is ${state}`);
    books = { ids: pool.list().map(({ thinId }) => Number(thinId)), transactionId };
  } finally {
    await pool.close();
  }
  await checkMetadata(shell, join(folder, "metadata"), books);
  await checkNothingLeft(kernel, folder);
  return states;
}

async function checkWorker(
  kernel: Kernel,
  pool: ThinPool,
  record: LoadRecord,
  worker: number,
): Promise<WorkerState> {
  const own = pool
    .list()
    .map(({ name }) => name)
    .filter((name) => name.startsWith(workerPrefix(worker)))
    .toSorted()
    .join();
  const begun = record.workers[worker];
  if (begun === undefined) throw new Error(`there is no worker ${worker}`);
  let state = begun.state;
  const problems: string[] = [];
  for (let number = 0; number < begun.acknowledged + MAX_UNHEARD; number += 1) {
    if (number >= begun.acknowledged && Object.keys(state).toSorted().join() === own) {
      const wrong = await wrongFiles(kernel, pool, state);
      if (wrong === undefined) return state;
      problems.push(`after step ${number}: ${wrong}`);
      // Later steps only add files: where one is missing now, it is missing then.
      break;
    }
    state = planStep(record.seed, worker, number, state).state;
  }
  throw new Finding(
    "lost",
    `worker ${worker}: ${begun.acknowledged} steps acknowledged, the pool has ${own || "nothing of it"}; ${problems.join("; ") || "that is no state from there on"}`,
  );
}

async function wrongFiles(kernel: Kernel, pool: ThinPool, state: WorkerState) {
  for (const [name, { files }] of Object.entries(state)) {
    let wrong: string | undefined;
    try {
      wrong = await mounted(kernel, pool, name, (at) => wrongFile(at, files));
    } catch (error) {
      wrong = String(error);
    }
    if (wrong !== undefined) return `${name}: ${wrong}`;
  }
  return undefined;
}

/**
 * The metadata with the tools' own eyes, the pool being closed: it is whole, and agrees with the ledger on
 * the thin devices there are and on the transaction.
 */
async function checkMetadata(
  shell: ToolShell,
  metadata: string,
  recorded: { readonly ids: readonly number[]; readonly transactionId: bigint },
): Promise<void> {
  const path = quote(metadata);
  const { code, printed } = await shell.run(
    `thin_check ${path} && thin_dump --skip-mappings ${path}`,
  );
  expect(code === 0, "failed", () => `thin_check or thin_dump ended with ${code}: ${printed}`);
  const ids = [...printed.matchAll(/dev_id="(\d+)"/g)].map(([, id]) => Number(id));
  const extra = ids.filter((id) => !recorded.ids.includes(id));
  expect(extra.length === 0, "leaked", () => `thin ids ${extra.join()} belong to no device`);
  expect(
    ids.length === recorded.ids.length,
    "lost",
    () => `thin ids ${recorded.ids.join()} are recorded, the metadata has ${ids.join()}`,
  );
  const transaction = /<superblock[^>]* transaction="(\d+)"/.exec(printed)?.[1];
  expect(
    transaction === String(recorded.transactionId),
    "failed",
    () => `the metadata is at transaction ${transaction}, the pool at ${recorded.transactionId}`,
  );
}

async function checkNothingLeft(kernel: Kernel, folder: string): Promise<void> {
  const devices = (await kernel.dm.listDevices())
    .map(({ name }) => name)
    .filter((name) => name.startsWith("thinpool-"));
  const loops = (await kernel.loops.list())
    .map(({ backingFile }) => backingFile)
    .filter((file) => file.startsWith(`${folder}/`));
  const left = [...devices, ...loops];
  expect(left.length === 0, "leaked", () => `left on the machine: ${left.join(", ")}`);
}

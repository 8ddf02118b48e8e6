/**
 * What one worker of a load does: a sequence that its seed alone decides, step by step over its own
 * devices. So the state after any number of steps is known without asking, and a pool found after a
 * power cut must be in one of the states from the last acknowledged step on.
 */
import { Random, seedOf } from "./random.ts";

export interface WorkerDevice {
  /** Files that were fsynced in it, by name: the seed and the length of each. */
  readonly files: Readonly<Record<string, { readonly seed: number; readonly bytes: number }>>;
}

export type WorkerState = Readonly<Record<string, WorkerDevice>>;

export type WorkerStep =
  | { readonly verb: "snapshot"; readonly origin: string; readonly name: string }
  | { readonly verb: "create"; readonly name: string }
  | { readonly verb: "remove"; readonly name: string }
  | { readonly verb: "write"; readonly name: string; readonly file: string }
  /** Of a mounted origin, right after a file in it was fsynced: both have the file. */
  | {
      readonly verb: "live-snapshot";
      readonly origin: string;
      readonly name: string;
      readonly file: string;
    };

export interface Planned {
  readonly step: WorkerStep;
  readonly state: WorkerState;
}

/** The device that all workers clone: no worker writes to it or removes it. */
export const BASE = "base";
const MAX_DEVICES = 3;
const MAX_FILE_KIB = 200;

export function workerPrefix(worker: number): string {
  return `w${worker}-`;
}

function newFile(random: Random): { seed: number; bytes: number } {
  return {
    seed: random.next(),
    bytes: random.between(1, MAX_FILE_KIB) * 1024 - random.below(1024),
  };
}

/** Step `number` (from 0) of a worker whose life began with `seed`, from the state before it. */
export function planStep(
  seed: number,
  worker: number,
  number: number,
  state: WorkerState,
): Planned {
  const random = new Random(seedOf(seedOf(seed, worker), number));
  const names = Object.keys(state);
  const some = names.length > 0 ? random.pick(names) : undefined;
  // The life's seed in the name: what an earlier life left can't be taken for this one's.
  const name = `${workerPrefix(worker)}${seed.toString(36)}-${number}`;
  const file = `file-${seed.toString(36)}-${number}`;
  const device = some === undefined ? undefined : state[some];
  const pick = random.below(100);
  if (some === undefined || device === undefined || (pick < 35 && names.length < MAX_DEVICES)) {
    if (pick < 5) {
      return { step: { verb: "create", name }, state: { ...state, [name]: { files: {} } } };
    }
    const origin = some === undefined || random.chance(40) ? BASE : some;
    const files = state[origin]?.files ?? {};
    return { step: { verb: "snapshot", origin, name }, state: { ...state, [name]: { files } } };
  }
  if (pick < 65) {
    const files = { ...device.files, [file]: newFile(random) };
    return { step: { verb: "write", name: some, file }, state: { ...state, [some]: { files } } };
  }
  if (pick < 80 && names.length < MAX_DEVICES) {
    const files = { ...device.files, [file]: newFile(random) };
    return {
      step: { verb: "live-snapshot", origin: some, name, file },
      state: { ...state, [some]: { files }, [name]: { files } },
    };
  }
  const left = Object.fromEntries(Object.entries(state).filter(([other]) => other !== some));
  return { step: { verb: "remove", name: some }, state: left };
}

/** A file's bytes. */
export function fileBytes(file: { readonly seed: number; readonly bytes: number }): Buffer {
  const random = new Random(file.seed);
  const bytes = Buffer.alloc(Math.ceil(file.bytes / 4) * 4);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(random.next(), at);
  return bytes.subarray(0, file.bytes);
}

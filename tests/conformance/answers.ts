/**
 * Conformance cases as tables: a place, what is asked there, and what the kernel answers. An answer is
 * "ok" or the code and errno of the refusal. Tables go again before the next line; of messages only
 * those that change nothing for the lines after them are accepted.
 */
import { NativeError } from "@thinpool/dm-native";
import { type Bench, line } from "./machine.ts";

export interface AnswerTable {
  readonly name: string;
  /** Makes the place. */
  readonly prepare: (bench: Bench) => Promise<void>;
  readonly ask: (bench: Bench, question: string) => Promise<unknown>;
  /** Questions and answers; `META`, `DATA` and `POOL` in a question are the bench's devices. */
  readonly answers: Readonly<Record<string, string>>;
}

export async function answerOf(ask: () => Promise<unknown>): Promise<string> {
  try {
    await ask();
    return "ok";
  } catch (error) {
    if (!(error instanceof NativeError)) throw error;
    return `${error.code} ${error.errnoName ?? ""}`.trim();
  }
}

function named(b: Bench, text: string): string {
  return text
    .replaceAll("META", b.metadata.path)
    .replaceAll("DATA", b.data.path)
    .replaceAll("POOL", b.path("pool"));
}

/** `TYPE LENGTH PARAMS`, loaded into a new device, which goes again. */
async function load(b: Bench, question: string): Promise<void> {
  const [type = "", length = "", ...params] = named(b, question).split(" ");
  await b.dm.createDevice(b.name("asked"));
  try {
    await b.dm.loadTable(b.ref("asked"), [line(type, params.join(" "), Number(length))]);
  } finally {
    await b.dm.removeDevice(b.ref("asked"));
  }
}

async function pool(b: Bench): Promise<void> {
  await b.pool();
  await b.message("create_thin 0");
  await b.message("create_thin 1");
  await b.message("create_snap 2 1");
  await b.thin(0);
}

type Asked = Pick<AnswerTable, "prepare" | "ask">;

export const POOL_TABLES_ASKED: Asked = {
  prepare: async (): Promise<void> => undefined,
  ask: load,
};
export const THIN_TABLES_ASKED: Asked = { prepare: pool, ask: load };
export const MESSAGES_ASKED: Asked = {
  prepare: pool,
  ask: (b: Bench, question: string): Promise<unknown> => b.message(question),
};
export const READ_ONLY_ASKED: Asked = {
  async prepare(b: Bench): Promise<void> {
    await pool(b);
    await b.reload(b.poolLine("1 read_only"));
  },
  ask: (b: Bench, question: string): Promise<unknown> => b.message(question),
};

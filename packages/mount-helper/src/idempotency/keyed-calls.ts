/**
 * A change with an idempotency key happens once, however often it is asked for (INV-30 to INV-32).
 *
 * What a call makes has uuids that follow from user, key and call, so it can be found again whatever
 * crashed when. What a call takes away or alters is written down before it is done (`evidence`), and
 * compared with what is there after a crash, before anything else can change it.
 */
import { randomUUID } from "node:crypto";
import type { KnownRequest, MethodName } from "@thinpool/protocol";
import { RequestError, WithdrawnError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import { callSha256, derivedUuid } from "./call-identity.ts";
import type { KeyRecord, KeyStore, UsedKey } from "./key-store.ts";

/** How one method's effect is recognised. */
export type Recognise<R extends KnownRequest = KnownRequest> =
  /** It makes something under `newUuid()`: the result if all of it is there, else undefined. */
  | {
      readonly how: "made";
      readonly find: (request: R, uuid: (index: number) => string) => unknown;
    }
  /**
   * It makes something under `newUuid()` that lasts as long as somebody holds it. So a repetition is handled like
   * the first: while that is there it has the same uuid, and the handler gives it to who asks now to hold; once
   * it has ended it has another, under which the handler makes it anew.
   */
  | {
      readonly how: "held";
      /** What the call made, by its result. */
      readonly uuidOf: (outcome: never) => string;
      readonly isThere: (uuid: string) => boolean;
    }
  /**
   * It takes away or alters something. `before`, at the last moment before the handler, says what (as
   * JSON); `find` gives the result if that has happened, else undefined.
   */
  | {
      readonly how: "compared";
      readonly before: (request: R) => unknown;
      readonly find: (evidence: never) => unknown;
    }
  /** Done twice it is as if done once: it sets what is there to what the call says. */
  | { readonly how: "repeated" }
  /**
   * The same, and what it answers is secret, or true at that moment only: it is not written down, but made anew
   * for a repetition.
   */
  | { readonly how: "replaced" };

export interface KeyedCallsParts {
  readonly poolUuid: string;
  readonly store: KeyStore;
  /** Undefined for methods that change nothing. */
  readonly recognise: (method: MethodName, params: object) => Recognise | undefined;
  readonly logger: Logger;
}

/** What a call is given to work with. */
export interface KeyedWork {
  readonly newUuid: () => string;
  /**
   * Writes down what the effect will be compared with, after what others have done is. Undefined where that
   * is done, and the objects are as it says: then the handler is called before anything else happens. Until
   * then it is called again.
   */
  readonly begin: () => Promise<void> | undefined;
  /** Right after the handler, before its turn is another's: what it has made is on record from now on. */
  readonly made: (outcome: unknown) => void;
}

interface Begun {
  readonly method: MethodName;
  readonly before: unknown;
}

type Held = Extract<Recognise, { readonly how: "held" }>;

export class KeyedCalls {
  readonly #parts: KeyedCallsParts;
  readonly #running = new Map<string, { readonly call: string; readonly work: Promise<unknown> }>();

  constructor(parts: KeyedCallsParts) {
    this.#parts = parts;
  }

  /** At the start, when pool and mounts are settled, before any call: what crashes cut short. */
  recover(): void {
    const { store, logger } = this.#parts;
    for (const record of store.begun()) {
      if (record.state !== "begun") continue;
      const outcome = this.#settle(record);
      const { uid, key } = record;
      logger.log("info", "key-settled", { uid, key, happened: outcome !== undefined });
    }
  }

  /** Of a change without a key: nothing of it is remembered. */
  unkeyed(): KeyedWork {
    return { newUuid: () => randomUUID(), begin: this.#settledOnce(), made: () => undefined };
  }

  /** What was done before the first call is on disk at the second; what others do meanwhile is not waited for. */
  #settledOnce(): () => Promise<void> | undefined {
    let isFirst = true;
    return () => {
      const pending = isFirst ? this.#parts.store.settled() : undefined;
      isFirst = false;
      return pending;
    };
  }

  /** The result of `work`, run now, or earlier under the same key. KEY_REUSED for another call's key. */
  async run(
    request: KnownRequest & { readonly key: string },
    uid: number,
    work: (context: KeyedWork) => Promise<unknown>,
  ): Promise<unknown> {
    const used = { uid, key: request.key, callSha256: callSha256(request) };
    const name = `${uid} ${used.key}`;
    const rule = this.#parts.recognise(request.method, request.params);
    for (let running = this.#running.get(name); running; running = this.#running.get(name)) {
      if (running.call !== used.callSha256) throw reused(request);
      try {
        const outcome = await running.work;
        // That is held by who asked first.
        if (rule?.how !== "held") return outcome;
      } catch (error) {
        // Given up by its caller, cut off, or out of time, and not done: this one still wants it.
        if (!(error instanceof WithdrawnError)) throw error;
      }
    }
    const earlier = this.#earlier(request, used, rule);
    if (earlier !== undefined && rule?.how !== "held") return earlier;
    const promise = this.#work(request, used, { rule, earlier }, work);
    this.#running.set(name, { call: used.callSha256, work: promise });
    try {
      return await promise;
    } finally {
      this.#running.delete(name);
    }
  }

  /** Its result, if it has happened. */
  #earlier(request: KnownRequest, used: UsedKey, rule: Recognise | undefined): unknown {
    const { store } = this.#parts;
    const record = store.find(used.uid, used.key);
    if (record !== undefined && record.callSha256 !== used.callSha256) throw reused(request);
    if (record?.state === "done") return JSON.parse(record.outcome) as unknown;
    if (record?.state === "begun") return this.#settle(record);
    if (rule?.how !== "made") return undefined;
    const found = rule.find(request, (index) => this.#uuid(used, index));
    if (found !== undefined) this.#record(used, found);
    return found;
  }

  async #work(
    request: KnownRequest,
    used: UsedKey,
    { rule, earlier: result }: { readonly rule: Recognise | undefined; readonly earlier: unknown },
    work: (context: KeyedWork) => Promise<unknown>,
  ): Promise<unknown> {
    const { store, logger } = this.#parts;
    const isMade = rule?.how === "made" || rule?.how === "held";
    let count = 0;
    let evidence: string | undefined;
    const settled = this.#settledOnce();
    const context: KeyedWork = {
      newUuid: () => {
        if (rule?.how === "held") return this.#heldUuid(rule, used, result);
        count += 1;
        return this.#uuid(used, count - 1);
      },
      begin: () => {
        // What is made takes nothing away, and waits for nothing.
        if (isMade) return undefined;
        const pending = settled();
        if (rule?.how !== "compared" || pending !== undefined) return pending;
        const begun: Begun = { method: request.method, before: rule.before(request) };
        const earlier = evidence;
        evidence = JSON.stringify(begun);
        if (evidence === earlier) return undefined;
        if (earlier === undefined) return store.beginTogether(used, evidence);
        // It changed while it was written down, and need not be waited for a second time.
        store.begin(used, evidence);
        return undefined;
      },
      made: (outcome) => {
        if (isMade) this.#record(used, outcome);
      },
    };
    try {
      const outcome = await work(context);
      if (!isMade && rule?.how !== "replaced")
        await store.doneTogether(used, JSON.stringify(outcome));
      return outcome;
    } catch (error) {
      if (evidence === undefined) throw error;
      const record = store.find(used.uid, used.key);
      // It may have happened all the same: then the next one who asks is told so.
      if (record?.state === "begun" && this.#settle(record) !== undefined) {
        const { uid, key } = used;
        logger.log("warn", "failed-after-it-happened", { uid, key, method: request.method });
      }
      throw error;
    }
  }

  /**
   * Soon: what was made is found again by its uuid, what was taken away or altered by comparing, so its caller
   * need not wait for the record. That is for the time when others have changed that, and whatever takes
   * something away or alters it waits for the record (INV-32).
   */
  #record(used: UsedKey, outcome: unknown): void {
    this.#parts.store.doneSoon(used, JSON.stringify(outcome), (error) =>
      this.#notRecorded(used, error),
    );
  }

  #notRecorded({ uid, key }: UsedKey, error: unknown): void {
    this.#parts.logger.log("error", "key-not-recorded", { uid, key, error: errorText(error) });
  }

  /** What became of it; the record says so from now on, or is gone, and lasts soon. */
  #settle(record: KeyRecord & { readonly state: "begun" }): unknown {
    const { store, recognise } = this.#parts;
    const { method, before } = JSON.parse(record.evidence) as Begun;
    // Whatever has evidence is compared, whatever its parameters are.
    const rule = recognise(method, {});
    const outcome = rule?.how === "compared" ? rule.find(before as never) : undefined;
    if (outcome === undefined) store.forget(record, (error) => this.#notRecorded(record, error));
    else this.#record(record, outcome);
    return outcome;
  }

  /** Looked at when the handler asks for it: whoever held it may have gone while the call waited. */
  #heldUuid({ uuidOf, isThere }: Held, used: UsedKey, result: unknown): string {
    if (result === undefined) return this.#uuid(used, 0);
    const last = uuidOf(result as never);
    return isThere(last) ? last : this.#uuid(used, 0, last);
  }

  #uuid(used: UsedKey, index: number, after?: string): string {
    return derivedUuid({ ...used, poolUuid: this.#parts.poolUuid }, index, after);
  }
}

function reused(request: KnownRequest): RequestError {
  return new RequestError({
    code: "KEY_REUSED",
    operation: request.method,
    object: "the idempotency key",
    reason: "it stands for another call of yours",
  });
}

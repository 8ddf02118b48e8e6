/**
 * The one way into the simulated kernel. Every call of an interface goes through `Gate.call`: it is
 * counted, can be made to fail, can be made to crash before or after its effect, and what the
 * kernel refuses becomes a NativeError with the code that the real bindings give it.
 */
import { constants } from "node:os";
import { NativeError, type NativeErrorCode } from "@thinpool/dm-native";

export type ErrnoName = keyof typeof constants.errno;

export function isErrnoName(text: string): text is ErrnoName {
  return Object.hasOwn(constants.errno, text);
}

/** What the simulated kernel throws inside; `Gate.call` adds the operation and the object. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly errnoName: ErrnoName;
  /** Where the errno means something else than it does everywhere. */
  readonly code: NativeErrorCode | undefined;

  constructor(errnoName: ErrnoName, reason: string, code?: NativeErrorCode) {
    super(reason);
    this.errnoName = errnoName;
    this.code = code;
  }
}

/**
 * The process has died (a crash point's listener threw it), or the machine has lost its power.
 * After it every call of this kernel rejects with a SimCrash, so that no tidying up of the dead
 * process can reach the kernel, until `processDeath()` or `powerCut()` begins the next life.
 */
export class SimCrash extends Error {
  override readonly name = "SimCrash";
}

export interface SimCall {
  /** The kernel's word for it: "DM_TARGET_MSG", "LOOP_CONFIGURE", "umount2". */
  readonly operation: string;
  /** The device, file or folder. */
  readonly object: string;
  /** What it was given: a message's text, a table; "" where there is nothing to say. */
  readonly detail: string;
  /** "before": nothing has happened. "after": the effect stands, the caller has not been told. */
  readonly phase: "before" | "after";
  /** How many calls were begun before this one, of all operations. */
  readonly index: number;
}

export type SimListener = (call: SimCall) => void;

export interface SimFault {
  readonly operation: string;
  /** Where given, only calls whose object or detail matches fail. */
  readonly match?: string | RegExp;
  readonly errno: ErrnoName;
  /** How many calls fail; 1 where not given. */
  readonly times?: number;
}

function codeOf(errnoName: ErrnoName): NativeErrorCode {
  switch (errnoName) {
    case "EPERM":
    case "EACCES":
      return "NATIVE_PERMISSION";
    case "ENXIO":
    case "ENOENT":
    case "ENODEV":
    case "ENODATA":
      return "NATIVE_NOT_FOUND";
    case "EEXIST":
      return "NATIVE_EXISTS";
    case "EBUSY":
      return "NATIVE_BUSY";
    case "EINVAL":
      return "NATIVE_INVALID";
    case "ENOSPC":
      return "NATIVE_NO_SPACE";
    case "EOPNOTSUPP":
      return "NATIVE_REFUSED";
    case "ENOSYS":
    case "ENOTTY":
      return "NATIVE_UNSUPPORTED";
    case "ETIMEDOUT":
      return "NATIVE_TIMEOUT";
    default:
      return "NATIVE_IO";
  }
}

/** On an injected EBUSY these mean "taken", as the real bindings read it. */
const TAKEN_OPERATIONS: ReadonlySet<string> = new Set(["DM_DEV_CREATE", "DM_DEV_RENAME"]);

function nativeError(refusal: Refusal, operation: string, object: string): NativeError {
  return new NativeError({
    code: refusal.code ?? codeOf(refusal.errnoName),
    operation,
    object,
    errno: constants.errno[refusal.errnoName],
    errnoName: refusal.errnoName,
    reason: refusal.message,
    hint: "The simulated kernel refused it as Linux would: correct the call.",
    cause: refusal,
  });
}

/** How many microtasks a seeded gate waits at most before a call's effect. */
const MAX_YIELDS = 4;

export class Gate {
  readonly #counts = new Map<string, number>();
  readonly #listeners = new Set<SimListener>();
  #faults: { readonly fault: SimFault; left: number }[] = [];
  #begun = 0;
  #down: string | undefined;
  #state: number | undefined;

  /** With a seed, calls that run at once interleave in an order that only the seed decides. */
  constructor(seed?: number) {
    this.#state = seed === undefined ? undefined : seed >>> 0;
  }

  /** Calls begun per operation, refused ones included. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  resetCounts(): void {
    this.#counts.clear();
  }

  listen(listener: SimListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  failNext(fault: SimFault): void {
    this.#faults.push({ fault, left: fault.times ?? 1 });
  }

  /** A new process: what the dead one armed (faults, listeners) is gone, and calls are let through. */
  revive(): void {
    this.#down = undefined;
    this.#faults = [];
    this.#listeners.clear();
  }

  /** From now on every call rejects with a SimCrash. */
  takeDown(reason: string): void {
    this.#down = reason;
  }

  /** Effects are synchronous: no other call ever sees a half-made one. */
  async call<T>(
    operation: string,
    object: string,
    detail: string,
    effect: () => T | Promise<T>,
  ): Promise<T> {
    for (let left = this.#yields(); left > 0; left -= 1) await Promise.resolve();
    this.#refuseWhenDown();
    const index = this.#begun;
    this.#begun += 1;
    this.#counts.set(operation, (this.#counts.get(operation) ?? 0) + 1);
    this.#tell({ operation, object, detail, phase: "before", index });
    let result: T;
    try {
      this.#injected(operation, object, detail);
      result = await effect();
    } catch (error) {
      throw error instanceof Refusal ? nativeError(error, operation, object) : error;
    }
    this.#refuseWhenDown();
    this.#tell({ operation, object, detail, phase: "after", index });
    return result;
  }

  #refuseWhenDown(): void {
    if (this.#down !== undefined) throw new SimCrash(this.#down);
  }

  #tell(call: SimCall): void {
    for (const listener of this.#listeners) {
      try {
        listener(call);
      } catch (error) {
        if (error instanceof SimCrash) this.#down = error.message;
        throw error;
      }
    }
  }

  #injected(operation: string, object: string, detail: string): void {
    const armed = this.#faults.find(({ fault }) => {
      if (fault.operation !== operation) return false;
      if (fault.match === undefined) return true;
      const { match } = fault;
      const hit = (text: string): boolean =>
        typeof match === "string" ? text.includes(match) : text.search(match) >= 0;
      return hit(object) || hit(detail);
    });
    if (armed === undefined) return;
    armed.left -= 1;
    if (armed.left <= 0) this.#faults = this.#faults.filter((other) => other !== armed);
    const taken = armed.fault.errno === "EBUSY" && TAKEN_OPERATIONS.has(operation);
    throw new Refusal(
      armed.fault.errno,
      "a fault was injected",
      taken ? "NATIVE_EXISTS" : undefined,
    );
  }

  /** mulberry32: small, and the same on every machine. */
  #yields(): number {
    if (this.#state === undefined) return 1;
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return 1 + (((mixed ^ (mixed >>> 14)) >>> 0) % MAX_YIELDS);
  }
}

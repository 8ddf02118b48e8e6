/** Reading a line of a target field by field; every complaint names the field, its value, and what was expected. */
import type { DevNumber } from "../../dev-number.ts";
import { NativeError } from "../../errors.ts";

const MAX_U64 = (1n << 64n) - 1n;

export class FieldReader {
  readonly #what: string;
  readonly #line: string;
  readonly #fields: readonly string[];
  #next = 0;

  /** `what` is said in errors: "thin-pool status". */
  constructor(what: string, line: string) {
    this.#what = what;
    this.#line = line;
    this.#fields = line.split(/\s+/).filter((field) => field !== "");
  }

  get atEnd(): boolean {
    return this.#next >= this.#fields.length;
  }

  /** The next field without taking it. */
  peek(): string | undefined {
    return this.#fields[this.#next];
  }

  text(name: string): string {
    const field = this.#fields[this.#next];
    if (field === undefined) throw this.#error(this.#next, undefined, name);
    this.#next += 1;
    return field;
  }

  /** A decimal number of at most 64 bits. */
  u64(name: string): bigint {
    const field = this.text(name);
    const value = /^\d{1,20}$/.test(field) ? BigInt(field) : MAX_U64 + 1n;
    if (value > MAX_U64) throw this.#error(this.#next - 1, field, `${name} (a decimal number)`);
    return value;
  }

  integer(name: string, maximum: number): number {
    const value = this.u64(name);
    if (value > BigInt(maximum)) {
      throw this.#error(this.#next - 1, String(value), `${name} (at most ${maximum})`);
    }
    return Number(value);
  }

  /** A number, or undefined for "-". */
  u64OrDash(name: string): bigint | undefined {
    if (this.peek() !== "-") return this.u64(name);
    this.#next += 1;
    return undefined;
  }

  /** "USED/TOTAL" */
  fraction(name: string): readonly [bigint, bigint] {
    const field = this.text(name);
    const match = /^(\d{1,19})\/(\d{1,19})$/.exec(field);
    if (match?.[1] === undefined || match[2] === undefined) {
      throw this.#error(this.#next - 1, field, `${name} (USED/TOTAL)`);
    }
    return [BigInt(match[1]), BigInt(match[2])];
  }

  /** "MAJOR:MINOR": the kernel always answers so, whatever was loaded. */
  device(name: string): DevNumber {
    const field = this.text(name);
    const match = /^(\d{1,4}):(\d{1,7})$/.exec(field);
    if (match === null) throw this.#error(this.#next - 1, field, `${name} (MAJOR:MINOR)`);
    return { major: Number(match[1]), minor: Number(match[2]) };
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const field = this.text(name);
    const found = allowed.find((word) => word === field);
    if (found === undefined) {
      throw this.#error(this.#next - 1, field, `${name} (one of ${allowed.join(", ")})`);
    }
    return found;
  }

  /** All that is left. */
  rest(): string[] {
    const fields = this.#fields.slice(this.#next);
    this.#next = this.#fields.length;
    return fields;
  }

  #error(index: number, value: string | undefined, expected: string): NativeError {
    const found = value === undefined ? "is missing" : `is ${JSON.stringify(value)}`;
    return new NativeError({
      code: "NATIVE_PARSE",
      operation: `reading of a ${this.#what}`,
      object: JSON.stringify(this.#line),
      reason: `field ${index} ${found}, expected ${expected}`,
      hint: "Check the text; from the kernel it means a format newer than this package.",
    });
  }
}

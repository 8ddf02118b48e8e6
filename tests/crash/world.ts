/**
 * One simulated machine with a disk for the pool's folder. Every kernel call, file call and commit of
 * the process under test has a boundary before and after it, counted from `arm` on: there the process
 * or the machine can die, or the call can be made to fail.
 */
import { constants } from "node:os";
import { join } from "node:path";
import {
  ChangeWatch,
  createSimKernel,
  type ErrnoName,
  type SimCall,
  SimCrash,
  type SimKernel,
} from "@thinpool/dm-sim";
import { VolatileFiles } from "./files.ts";
import { type ProcessWorld, real } from "./intercept.ts";
import type { Random } from "./random.ts";

export type Death = "process" | "machine";

export interface Plan {
  /** Dies at the boundary with this number. */
  readonly death?: { readonly at: number; readonly of: Death };
  /** The first calls from these boundaries on fail with the errno. */
  readonly faults?: readonly { readonly at: number; readonly errno: ErrnoName }[];
}

/** What a boundary is called in a trace: pool and device uuids are cut out. */
interface Boundary {
  readonly phase: "before" | "after";
  readonly call: string;
}

const START_MS = Date.UTC(2026, 0, 1);
/** A history that passes so many boundaries is going round in circles. */
const MAX_BOUNDARIES = 20_000;

export class World implements ProcessWorld {
  readonly files: VolatileFiles;
  kernel: SimKernel;
  readonly #random: Random;
  readonly #base: string;
  #plan: Plan = {};
  #seen = 0;
  #total = 0;
  #dead: Death | undefined;
  #elapsedMs = 0;
  #faults: { at: number; errno: ErrnoName }[] = [];
  #injected = 0;
  /** A hash over all boundaries so far: equal seeds give equal traces. */
  #trace = 0;
  /** The last boundaries, for people. */
  readonly #recent: string[] = [];
  #watch: ChangeWatch | undefined;
  #listing = "";
  #differing: number[] = [];

  constructor(base: string, random: Random) {
    this.#base = base;
    this.#random = random;
    this.files = new VolatileFiles(base);
    this.kernel = createSimKernel({ seed: random.next() });
    this.#listen();
  }

  get folder(): string {
    return this.files.folder;
  }

  get dead(): Death | undefined {
    return this.#dead;
  }

  /** Boundaries since `arm`. */
  get boundaries(): number {
    return this.#seen;
  }

  /**
   * The boundaries since `watch` at which the machine may differ from the one before: a death at another
   * leaves the same again.
   */
  get differing(): readonly number[] {
    return [...this.#differing];
  }

  /** Calls that were made to fail since `arm`. */
  get injected(): number {
    return this.#injected;
  }

  get trace(): number {
    return this.#trace >>> 0;
  }

  get recent(): readonly string[] {
    return this.#recent;
  }

  get nowMs(): number {
    return START_MS + this.#elapsedMs;
  }

  owns(path: string): boolean {
    return path.startsWith(this.#base);
  }

  sleep(ms: number): void {
    this.#elapsedMs += ms;
  }

  uuid(): `${string}-${string}-${string}-${string}-${string}` {
    const hex = (digits: number): string =>
      this.#random.next().toString(16).padStart(8, "0").slice(0, digits);
    return `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(8)}${hex(4)}`;
  }

  synced(path: string): void {
    this.files.synced(path);
  }

  renamed(from: string, to: string): void {
    this.files.renamed(from, to);
  }

  closing(database: string): void {
    this.files.closing(database);
  }

  committed(database: string, synchronous: number): void {
    this.files.committed(database, synchronous);
  }

  arm(plan: Plan): void {
    this.#plan = plan;
    this.#faults = [...(plan.faults ?? [])];
    this.#seen = 0;
    this.#injected = 0;
    this.#watch = undefined;
  }

  /** Nothing happens, but what boundaries there are is remembered. */
  watch(): void {
    this.arm({});
    this.#watch = new ChangeWatch();
    this.#differing = [];
  }

  point(phase: "before" | "after", call: string): void {
    this.#boundary({ phase, call }, (errno) => {
      throw systemError(phase, call, errno);
    });
  }

  /** The power is cut now, between two calls. */
  cutPower(): void {
    this.#dead = "machine";
    this.files.cut(this.#random);
  }

  /** The next life begins: of the process, or of the machine. */
  revive(): void {
    const death = this.#dead ?? "process";
    this.arm({});
    this.#dead = undefined;
    if (death === "process") this.kernel.processDeath();
    else {
      this.kernel = this.kernel.powerCut();
      this.files.restart();
    }
    this.#listen();
  }

  #listen(): void {
    this.kernel.onCall((call) => this.#call(call));
  }

  #call(call: SimCall): void {
    const words = `${call.operation} ${call.detail}`.trim();
    this.#boundary({ phase: call.phase, call: words }, (errno) =>
      // It is this very call that takes the fault, right after its listeners.
      this.kernel.failNext({ operation: call.operation, errno }),
    );
  }

  #boundary(boundary: Boundary, fail: (errno: ErrnoName) => void): void {
    if (this.#dead !== undefined) throw new SimCrash(`the ${this.#dead} is dead`);
    const number = this.#seen;
    this.#seen += 1;
    this.#total += 1;
    if (this.#total > MAX_BOUNDARIES) throw new Error(`more than ${MAX_BOUNDARIES} boundaries`);
    const text = `${boundary.phase} ${boundary.call.replaceAll(/[0-9a-f-]{32,}/g, "")}`;
    this.#remember(text);
    if (this.#watch !== undefined) this.#compare(this.#watch, boundary, number);
    const { death } = this.#plan;
    if (death?.at === number) {
      this.#remember(`the ${death.of} dies`);
      this.#dead = death.of;
      if (death.of === "machine") this.files.cut(this.#random);
      throw new SimCrash(`the ${death.of} dies ${text}`);
    }
    const fault = this.#faults.find(({ at }) => at <= number);
    if (fault === undefined) return;
    // A commit may be on the disk although it says that it failed; no other call is like that.
    if (boundary.phase === "after" && boundary.call !== "COMMIT") return;
    this.#faults = this.#faults.filter((other) => other !== fault);
    this.#injected += 1;
    this.#remember(`${fault.errno} is injected`);
    fail(fault.errno);
  }

  #compare(watch: ChangeWatch, { phase, call }: Boundary, number: number): void {
    const [operation = ""] = call.split(" ");
    const differs = watch.mayDiffer({ operation, phase });
    // SQLite makes and removes its files without being asked.
    const listing = this.#filesNow();
    if (differs || listing !== this.#listing) this.#differing.push(number);
    this.#listing = listing;
  }

  #filesNow(): string {
    const { parent } = this.files;
    const files = real.readdirSync(parent, { recursive: true, encoding: "utf8" }).map((name) => {
      const { ino, size } = real.statSync(join(parent, name));
      return `${name} ${ino} ${size}`;
    });
    return files.toSorted().join("\n");
  }

  #remember(text: string): void {
    for (let at = 0; at < text.length; at += 1) {
      this.#trace = Math.imul(this.#trace ^ text.charCodeAt(at), 0x01000193);
    }
    this.#recent.push(text);
    if (this.#recent.length > MAX_RECENT) this.#recent.shift();
  }
}

const MAX_RECENT = 400;
/** sqlite3.h: what a COMMIT says when the disk is full, or fails. */
const SQLITE_FULL = 13;
const SQLITE_IOERR = 10;

/** As Node reports a failed file call; as SQLite reports a failed commit. */
function systemError(phase: "before" | "after", call: string, errno: ErrnoName): Error {
  if (call === "COMMIT") {
    // Full is a log that could not be written (os_unix.c: unixWrite), never one that could not be synced.
    const full = errno === "ENOSPC" && phase === "before";
    return Object.assign(new Error(full ? "database or disk is full" : "disk I/O error"), {
      code: "ERR_SQLITE_ERROR",
      errcode: full ? SQLITE_FULL : SQLITE_IOERR,
    });
  }
  return Object.assign(new Error(`${errno}: a fault was injected, ${call}`), {
    code: errno,
    errno: -constants.errno[errno],
    syscall: call,
  });
}

/**
 * Sessions: what a client keeps over a cut of its connection. A session belongs to a uid, and whoever
 * resumes it shows the secret that was given out with it. While no connection has it, it lives for a
 * grace period; then it is over, and its references with it.
 *
 * One that holds something is in the store before it holds it. A restart of the daemon gives each of
 * those a whole grace period, since nobody could resume it meanwhile; a reboot ends them all.
 */
import { createHash, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { Clock, ClockReading } from "./deadline.ts";

/** How long a session outlives its connection. Long enough for a restart of daemon or client. */
export const SESSION_GRACE_MS = 30_000;
/** Sessions of one user without a connection that hold nothing; the oldest go first. */
export const MAX_IDLE_SESSIONS_PER_UID = 64;
/** 256 bits: not to be guessed. */
const SECRET_BYTES = 32;

export interface SessionRecord {
  readonly id: string;
  readonly uid: number;
  readonly secretSha256: string;
  readonly bootId: string;
}

/** None outlives the boot, so nobody waits for the disk: each is there for the next process. */
export interface SessionStore {
  loadSessions(): readonly SessionRecord[];
  saveSession(session: SessionRecord): void;
  deleteSession(id: string): void;
}

interface Session {
  readonly record: SessionRecord;
  /** In the store: it holds, or held, something. */
  kept: boolean;
  /** The connection that has it; undefined: none. */
  connection: number | undefined;
  /** Since boot; while no connection has it. */
  endsAtBootMs: number;
}

export interface OpenedSession {
  readonly session: string;
  readonly secret: string;
  readonly graceMs: number;
}

export interface SessionsParts {
  readonly store: SessionStore;
  readonly clock: Clock;
  readonly graceMs?: number | undefined;
}

export class Sessions {
  readonly #store: SessionStore;
  readonly #clock: Clock;
  readonly graceMs: number;
  readonly #sessions = new Map<string, Session>();
  /** By connection. */
  readonly #current = new Map<number, Session>();
  /** Of calls that hold something while they run; never in the store, so over with the daemon. */
  readonly #calls = new Set<string>();

  constructor({ store, clock, graceMs = SESSION_GRACE_MS }: SessionsParts) {
    this.#store = store;
    this.#clock = clock;
    this.graceMs = graceMs;
  }

  /** At the start, before anybody connects: those of this boot wait for their clients. */
  load(): void {
    const now = this.#clock.read();
    for (const record of this.#store.loadSessions()) {
      if (record.bootId !== now.bootId) {
        this.#store.deleteSession(record.id);
        continue;
      }
      const endsAtBootMs = now.bootMs + this.graceMs;
      this.#sessions.set(record.id, { record, kept: true, connection: undefined, endsAtBootMs });
    }
  }

  /** A new session for the connection; one that it had before loses it. */
  open(uid: number, connection: number): OpenedSession {
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    this.closed(connection);
    const { bootId } = this.#clock.read();
    const record = { id: randomUUID(), uid, secretSha256: hash(secret), bootId };
    const session = { record, kept: false, connection, endsAtBootMs: 0 };
    this.#sessions.set(record.id, session);
    this.#current.set(connection, session);
    return { session: record.id, secret, graceMs: this.graceMs };
  }

  /**
   * The connection takes its session up again; from an earlier connection, should that still look
   * alive. False where there is no such session of this uid with this secret (any more).
   */
  resume(uid: number, id: string, secret: string, connection: number): boolean {
    const session = this.#sessions.get(id);
    if (session === undefined || session.record.uid !== uid) return false;
    const given = Buffer.from(hash(secret));
    if (!timingSafeEqual(given, Buffer.from(session.record.secretSha256))) return false;
    if (this.#hasPassed(session, this.#clock.read())) return false;
    if (session.connection === connection) return true;
    this.closed(connection);
    if (session.connection !== undefined) this.#current.delete(session.connection);
    session.connection = connection;
    this.#current.set(connection, session);
    return true;
  }

  /** The connection's session; one without a secret that anybody knows where it never asked for one. */
  of(uid: number, connection: number): string {
    const session = this.#current.get(connection);
    return session === undefined ? this.open(uid, connection).session : session.record.id;
  }

  /** Before it holds its first reference: from now on it survives the daemon. */
  keep(id: string): void {
    const session = this.#sessions.get(id);
    if (session === undefined || session.kept) return;
    this.#store.saveSession(session.record);
    session.kept = true;
  }

  /** The connection has ended: its session has a grace period. */
  closed(connection: number): void {
    const session = this.#current.get(connection);
    if (session === undefined) return;
    this.#current.delete(connection);
    session.connection = undefined;
    session.endsAtBootMs = this.#clock.read().bootMs + this.graceMs;
    if (!session.kept) this.#boundIdle(session.record.uid);
  }

  /** A session of a call's own, until `end`: what it holds is not seen to by its client, but by the call. */
  begin(): string {
    const id = randomUUID();
    this.#calls.add(id);
    return id;
  }

  /** Of one that `begin` made. What it holds is the caller's to end. */
  end(id: string): void {
    this.#calls.delete(id);
  }

  /** True while a connection has it or its grace period runs. */
  isAlive(id: string, now?: ClockReading): boolean {
    if (this.#calls.has(id)) return true;
    const session = this.#sessions.get(id);
    return session !== undefined && !this.#hasPassed(session, now ?? this.#clock.read());
  }

  /** Drops the sessions whose grace period is over; their ids. Their references are the caller's to end. */
  expire(): readonly string[] {
    const now = this.#clock.read();
    const ended = Array.from(this.#sessions.values()).filter((each) => this.#hasPassed(each, now));
    for (const { record, kept } of ended) {
      this.#sessions.delete(record.id);
      if (kept) this.#store.deleteSession(record.id);
    }
    return ended.map(({ record }) => record.id);
  }

  /** Milliseconds until the next grace period is over; undefined where none runs. */
  nextEndMs(): number | undefined {
    const now = this.#clock.read();
    let next: number | undefined;
    for (const { connection, endsAtBootMs } of this.#sessions.values()) {
      if (connection !== undefined) continue;
      const left = Math.max(0, endsAtBootMs - now.bootMs);
      next = next === undefined ? left : Math.min(next, left);
    }
    return next;
  }

  get counts(): { readonly connected: number; readonly waiting: number } {
    const connected = this.#current.size;
    return { connected, waiting: this.#sessions.size - connected };
  }

  #hasPassed(session: Session, now: ClockReading): boolean {
    return session.connection === undefined && session.endsAtBootMs <= now.bootMs;
  }

  #boundIdle(uid: number): void {
    const idle = Array.from(this.#sessions.values()).filter(
      (each) => each.record.uid === uid && each.connection === undefined && !each.kept,
    );
    // The map's order is that of opening: the first are the oldest.
    for (const { record } of idle.slice(0, Math.max(0, idle.length - MAX_IDLE_SESSIONS_PER_UID))) {
      this.#sessions.delete(record.id);
    }
  }
}

function hash(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

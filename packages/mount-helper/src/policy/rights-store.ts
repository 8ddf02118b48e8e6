/**
 * What rights there are besides the policy's: which devices are public, and the tokens. In a SQLite
 * file of its own in the pool's folder. What a call writes is read from when it returns; the power may take it
 * along until `lasting` has resolved.
 */
import type { SQLInputValue } from "node:sqlite";
import { MAX_KEPT_EVENTS } from "@thinpool/thinpool";
import { StoreFile } from "../store-file.ts";
import type { StoreSchema } from "../store-file.ts";

/** Of so many the events can still tell (the engine keeps as many events). */
export const MAX_REMOVED_IMAGES: number = MAX_KEPT_EVENTS;

const CREATE = `
CREATE TABLE public_devices (device_uuid TEXT PRIMARY KEY) STRICT;
-- Public to their end: whoever saw them is told of it.
CREATE TABLE removed_images (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  device_uuid TEXT NOT NULL UNIQUE
) STRICT;
CREATE TRIGGER removed_images_bounded AFTER INSERT ON removed_images BEGIN
  DELETE FROM removed_images WHERE number <= NEW.number - ${MAX_REMOVED_IMAGES};
END;
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  secret_hash BLOB NOT NULL UNIQUE,
  device_uuid TEXT NOT NULL,
  creator_uid INTEGER NOT NULL,
  allow TEXT NOT NULL,
  uid INTEGER,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL
) STRICT;
`;

const CREATE_CONNECT_TOKENS = `
CREATE TABLE connect_tokens (
  id TEXT PRIMARY KEY,
  secret_hash BLOB NOT NULL UNIQUE,
  uid INTEGER NOT NULL,
  creator_uid INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  expires_at_ms INTEGER NOT NULL
) STRICT;
`;

const SCHEMA: StoreSchema = {
  version: 2,
  create: CREATE + CREATE_CONNECT_TOKENS,
  upgrades: { 2: CREATE_CONNECT_TOKENS },
};

type Row = Readonly<Record<string, unknown>>;

/** What a token lets its bearer do with its one device. */
export const tokenVerbs = ["clone", "mount-read-only"] as const;
export type TokenVerb = (typeof tokenVerbs)[number];

export interface Token {
  readonly id: string;
  readonly deviceUuid: string;
  readonly creatorUid: number;
  readonly allow: readonly TokenVerb[];
  /** Only this user may use it; undefined: whoever has it. */
  readonly uid: number | undefined;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

/** Lets its bearer connect over TCP as one user. */
export interface ConnectToken {
  readonly id: string;
  readonly uid: number;
  readonly creatorUid: number;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export class RightsStore implements Disposable {
  readonly #file: StoreFile;

  /** Opens or makes the file; throws where a newer version of thinpoold wrote it. */
  constructor(path: string) {
    this.#file = new StoreFile(path, SCHEMA);
  }

  /** Resolves once all that was written before is on disk. */
  lasting(): Promise<void> {
    return this.#file.lasting();
  }

  publicDevices(): readonly string[] {
    const rows = this.#all("SELECT device_uuid FROM public_devices");
    return rows.map((row) => String(row["device_uuid"]));
  }

  wasPublic(deviceUuid: string): boolean {
    return (
      this.#get("SELECT 1 FROM removed_images WHERE device_uuid = ?", deviceUuid) !== undefined
    );
  }

  setPublic(deviceUuid: string, isPublic: boolean): void {
    const sql = isPublic
      ? "INSERT OR IGNORE INTO public_devices VALUES (?)"
      : "DELETE FROM public_devices WHERE device_uuid = ?";
    this.#write(sql, deviceUuid);
  }

  /** One of the same id is replaced. */
  addToken(token: Token, secretHash: Uint8Array): void {
    this.#write(
      "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      token.id,
      secretHash,
      token.deviceUuid,
      token.creatorUid,
      token.allow.join(","),
      token.uid ?? null,
      token.createdAtMs,
      token.expiresAtMs,
    );
  }

  /** Those that have expired go with it. */
  tokens(nowMs: number): readonly Token[] {
    this.#write("DELETE FROM tokens WHERE expires_at_ms <= ?", nowMs);
    return this.#all("SELECT * FROM tokens ORDER BY created_at_ms, id").map(decode);
  }

  tokenByHash(secretHash: Uint8Array): Token | undefined {
    const row = this.#get("SELECT * FROM tokens WHERE secret_hash = ?", secretHash);
    return row === undefined ? undefined : decode(row);
  }

  /** Throws where a change may or may not last: that a token is gone is told by this. */
  tokenById(id: string): Token | undefined {
    this.#file.assertSound();
    const row = this.#get("SELECT * FROM tokens WHERE id = ?", id);
    return row === undefined ? undefined : decode(row);
  }

  removeToken(id: string): void {
    this.#write("DELETE FROM tokens WHERE id = ?", id);
  }

  /** One of the same id is replaced. */
  addConnectToken(token: ConnectToken, secretHash: Uint8Array): void {
    const { id, uid, creatorUid, createdAtMs, expiresAtMs } = token;
    this.#write(
      "INSERT OR REPLACE INTO connect_tokens VALUES (?, ?, ?, ?, ?, ?)",
      ...[id, secretHash, uid, creatorUid, createdAtMs, expiresAtMs],
    );
  }

  /** With the hashes of their secrets. Those that have expired go with it. */
  connectTokens(
    nowMs: number,
  ): readonly { readonly token: ConnectToken; readonly secretHash: Uint8Array }[] {
    this.#write("DELETE FROM connect_tokens WHERE expires_at_ms <= ?", nowMs);
    const rows = this.#all("SELECT * FROM connect_tokens ORDER BY created_at_ms, id");
    return rows.map((row) => ({
      token: {
        id: String(row["id"]),
        uid: Number(row["uid"]),
        creatorUid: Number(row["creator_uid"]),
        createdAtMs: Number(row["created_at_ms"]),
        expiresAtMs: Number(row["expires_at_ms"]),
      },
      secretHash: row["secret_hash"] as Uint8Array,
    }));
  }

  removeConnectToken(id: string): void {
    this.#write("DELETE FROM connect_tokens WHERE id = ?", id);
  }

  /** The device is no more: nothing of it is left to be given to another of its name. */
  forgetDevice(deviceUuid: string): void {
    const statements = [
      `INSERT OR IGNORE INTO removed_images (device_uuid)
       SELECT device_uuid FROM public_devices WHERE device_uuid = ?`,
      "DELETE FROM public_devices WHERE device_uuid = ?",
      "DELETE FROM tokens WHERE device_uuid = ?",
    ];
    this.#file.write(() => {
      for (const sql of statements) this.#file.database.prepare(sql).run(deviceUuid);
    });
  }

  close(): void {
    this.#file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #write(sql: string, ...values: readonly SQLInputValue[]): void {
    this.#file.write(() => this.#file.database.prepare(sql).run(...values));
  }

  #get(sql: string, ...values: readonly SQLInputValue[]): Row | undefined {
    return this.#file.database.prepare(sql).get(...values);
  }

  #all(sql: string): readonly Row[] {
    return this.#file.database.prepare(sql).all();
  }
}

function decode(row: Row): Token {
  const allow = String(row["allow"]).split(",");
  return {
    id: String(row["id"]),
    deviceUuid: String(row["device_uuid"]),
    creatorUid: Number(row["creator_uid"]),
    allow: tokenVerbs.filter((verb) => allow.includes(verb)),
    uid: row["uid"] === null ? undefined : Number(row["uid"]),
    createdAtMs: Number(row["created_at_ms"]),
    expiresAtMs: Number(row["expires_at_ms"]),
  };
}

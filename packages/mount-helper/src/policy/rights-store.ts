/**
 * What rights there are besides the policy's: which devices are public, and the tokens. In a SQLite
 * file of its own in the pool's folder; each call is on disk when it returns (synchronous=FULL).
 */
import type { DatabaseSync } from "node:sqlite";
import { MAX_KEPT_EVENTS } from "@thinpool/thinpool";
import { openStoreFile } from "../store-file.ts";
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
  readonly #database: DatabaseSync;

  /** Opens or makes the file; throws where a newer version of thinpoold wrote it. */
  constructor(path: string) {
    this.#database = openStoreFile(path, SCHEMA);
  }

  publicDevices(): readonly string[] {
    const rows = this.#database.prepare("SELECT device_uuid FROM public_devices").all();
    return rows.map((row) => String(row["device_uuid"]));
  }

  wasPublic(deviceUuid: string): boolean {
    return (
      this.#database
        .prepare("SELECT 1 FROM removed_images WHERE device_uuid = ?")
        .get(deviceUuid) !== undefined
    );
  }

  setPublic(deviceUuid: string, isPublic: boolean): void {
    const sql = isPublic
      ? "INSERT OR IGNORE INTO public_devices VALUES (?)"
      : "DELETE FROM public_devices WHERE device_uuid = ?";
    this.#database.prepare(sql).run(deviceUuid);
  }

  /** One of the same id is replaced. */
  addToken(token: Token, secretHash: Uint8Array): void {
    this.#database
      .prepare("INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
      .run(
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
    this.#database.prepare("DELETE FROM tokens WHERE expires_at_ms <= ?").run(nowMs);
    return this.#database
      .prepare("SELECT * FROM tokens ORDER BY created_at_ms, id")
      .all()
      .map(decode);
  }

  tokenByHash(secretHash: Uint8Array): Token | undefined {
    const row = this.#database
      .prepare("SELECT * FROM tokens WHERE secret_hash = ?")
      .get(secretHash);
    return row === undefined ? undefined : decode(row);
  }

  tokenById(id: string): Token | undefined {
    const row = this.#database.prepare("SELECT * FROM tokens WHERE id = ?").get(id);
    return row === undefined ? undefined : decode(row);
  }

  removeToken(id: string): void {
    this.#database.prepare("DELETE FROM tokens WHERE id = ?").run(id);
  }

  /** One of the same id is replaced. */
  addConnectToken(token: ConnectToken, secretHash: Uint8Array): void {
    const { id, uid, creatorUid, createdAtMs, expiresAtMs } = token;
    this.#database
      .prepare("INSERT OR REPLACE INTO connect_tokens VALUES (?, ?, ?, ?, ?, ?)")
      .run(id, secretHash, uid, creatorUid, createdAtMs, expiresAtMs);
  }

  /** With the hashes of their secrets. Those that have expired go with it. */
  connectTokens(
    nowMs: number,
  ): readonly { readonly token: ConnectToken; readonly secretHash: Uint8Array }[] {
    this.#database.prepare("DELETE FROM connect_tokens WHERE expires_at_ms <= ?").run(nowMs);
    const rows = this.#database
      .prepare("SELECT * FROM connect_tokens ORDER BY created_at_ms, id")
      .all();
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
    this.#database.prepare("DELETE FROM connect_tokens WHERE id = ?").run(id);
  }

  /** The device is no more: nothing of it is left to be given to another of its name. */
  forgetDevice(deviceUuid: string): void {
    this.#database
      .prepare(
        `INSERT OR IGNORE INTO removed_images (device_uuid)
         SELECT device_uuid FROM public_devices WHERE device_uuid = ?`,
      )
      .run(deviceUuid);
    this.#database.prepare("DELETE FROM public_devices WHERE device_uuid = ?").run(deviceUuid);
    this.#database.prepare("DELETE FROM tokens WHERE device_uuid = ?").run(deviceUuid);
  }

  close(): void {
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function decode(row: Record<string, unknown>): Token {
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

/** The rights that users give and take while the daemon runs: public images and tokens. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { RequestError } from "../errors.ts";
import type { ConnectToken, RightsStore, Token, TokenVerb } from "./rights-store.ts";

/** 256 bits: nobody guesses one. */
const SECRET_BYTES = 32;
export const MAX_TOKENS_PER_UID = 128;
/** Tokens to connect by, of all users: each attempt to connect is compared with all of them. */
export const MAX_CONNECT_TOKENS = 1024;

export interface NewToken {
  /** One of this id is replaced: nobody was told its secret (its call is repeated). */
  readonly id: string;
  readonly deviceUuid: string;
  readonly creatorUid: number;
  readonly allow: readonly TokenVerb[];
  readonly uid: number | undefined;
  readonly expiresAtMs: number;
}

/** What somebody wants to do by a token. */
export interface TokenUse {
  readonly secret: string;
  readonly deviceUuid: string;
  readonly verb: TokenVerb;
  readonly uid: number;
}

export type NewConnectToken = Omit<ConnectToken, "createdAtMs">;

export class RightsBook {
  readonly #store: RightsStore;
  readonly #public: Set<string>;
  /** By id. Whoever knocks at the network's door makes nobody read a file. */
  readonly #connect = new Map<
    string,
    { readonly token: ConnectToken; readonly secretHash: Uint8Array }
  >();

  constructor(store: RightsStore) {
    this.#store = store;
    this.#public = new Set(store.publicDevices());
    for (const entry of store.connectTokens(Date.now())) this.#connect.set(entry.token.id, entry);
  }

  isPublic(deviceUuid: string): boolean {
    return this.#public.has(deviceUuid);
  }

  /** The same of a device that may have been removed since. */
  wasPublic(deviceUuid: string): boolean {
    return this.isPublic(deviceUuid) || this.#store.wasPublic(deviceUuid);
  }

  /** From now on, and durable when it resolves. */
  async setPublic(deviceUuid: string, isPublic: boolean): Promise<void> {
    this.#store.setPublic(deviceUuid, isPublic);
    if (isPublic) this.#public.add(deviceUuid);
    else this.#public.delete(deviceUuid);
    try {
      await this.#store.lasting();
    } catch (error) {
      // It may or may not be public from the next start on; until then it is not.
      this.#public.delete(deviceUuid);
      throw error;
    }
  }

  /** The secret is told once, here: only its hash is kept, and that is durable then. */
  async createToken(fields: NewToken): Promise<{ readonly token: Token; readonly secret: string }> {
    const now = Date.now();
    const held = this.#store
      .tokens(now)
      .filter(({ id, creatorUid }) => id !== fields.id && creatorUid === fields.creatorUid);
    if (held.length >= MAX_TOKENS_PER_UID) {
      throw tooMany("token.create", `you have ${held.length}, the limit is ${MAX_TOKENS_PER_UID}`);
    }
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const token: Token = { ...fields, createdAtMs: now };
    // Nothing was awaited since those that are held were counted.
    this.#store.addToken(token, hashOf(secret));
    await this.#store.lasting();
    return { token, secret };
  }

  /** As `createToken`: the secret is told once. */
  async createConnectToken(
    fields: NewConnectToken,
  ): Promise<{ readonly token: ConnectToken; readonly secret: string }> {
    const operation = "token.createConnect";
    const all = this.connectTokens().filter(({ id }) => id !== fields.id);
    const own = all.filter(({ creatorUid }) => creatorUid === fields.creatorUid);
    if (own.length >= MAX_TOKENS_PER_UID) {
      throw tooMany(operation, `you have made ${own.length}, the limit is ${MAX_TOKENS_PER_UID}`);
    }
    if (all.length >= MAX_CONNECT_TOKENS) {
      throw tooMany(operation, `there are ${all.length}, the limit is ${MAX_CONNECT_TOKENS}`);
    }
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const secretHash = hashOf(secret);
    const token: ConnectToken = { ...fields, createdAtMs: Date.now() };
    this.#store.addConnectToken(token, secretHash);
    this.#connect.set(token.id, { token, secretHash });
    await this.#store.lasting();
    return { token, secret };
  }

  /** Undefined where there is none of that secret, or it has expired. Takes as long for each secret. */
  connectTokenOf(secret: string): ConnectToken | undefined {
    const asked = hashOf(secret);
    let found: ConnectToken | undefined;
    for (const { token, secretHash } of this.#connect.values()) {
      if (timingSafeEqual(asked, secretHash)) found = token;
    }
    return found === undefined ? undefined : this.connectTokenById(found.id);
  }

  /** Undefined where it was revoked, or has expired. */
  connectTokenById(id: string): ConnectToken | undefined {
    const token = this.#connect.get(id)?.token;
    return token === undefined || token.expiresAtMs <= Date.now() ? undefined : token;
  }

  connectTokens(): readonly ConnectToken[] {
    const entries = this.#store.connectTokens(Date.now());
    const ids = new Set(entries.map(({ token }) => token.id));
    for (const id of this.#connect.keys()) if (!ids.has(id)) this.#connect.delete(id);
    return entries.map(({ token }) => token);
  }

  /** The token that allows it; undefined where none of that secret does: unknown, expired, for another device, verb or user. */
  tokenFor({ secret, deviceUuid, verb, uid }: TokenUse): Token | undefined {
    const token = this.#store.tokenByHash(hashOf(secret));
    if (token === undefined || token.expiresAtMs <= Date.now()) return undefined;
    if (token.deviceUuid !== deviceUuid || !token.allow.includes(verb)) return undefined;
    return token.uid === undefined || token.uid === uid ? token : undefined;
  }

  tokens(): readonly Token[] {
    return this.#store.tokens(Date.now());
  }

  /** Throws where it may have been revoked or not. */
  tokenById(id: string): Token | undefined {
    return this.#store.tokenById(id);
  }

  /** Of either kind: it is none from now on, and durably so when it resolves. */
  async revoke(id: string): Promise<void> {
    this.#store.removeToken(id);
    this.#store.removeConnectToken(id);
    this.#connect.delete(id);
    await this.#store.lasting();
  }

  /**
   * The power may take this along: what is left then are rights on a device that is no more, which its uuid
   * gives to no other.
   */
  forgetDevice(deviceUuid: string): void {
    this.#store.forgetDevice(deviceUuid);
    this.#public.delete(deviceUuid);
  }

  close(): void {
    this.#store.close();
  }
}

function tooMany(operation: string, reason: string): RequestError {
  const hint = "Revoke those that are not needed.";
  return new RequestError({ code: "LIMIT", operation, object: "the tokens", reason, hint });
}

/** A random secret of 256 bits needs no slow hash. */
function hashOf(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}

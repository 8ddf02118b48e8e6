/** The rights that users give and take while the daemon runs: public images and tokens. */
import { createHash, randomBytes } from "node:crypto";
import { RequestError } from "../errors.ts";
import type { RightsStore, Token, TokenVerb } from "./rights-store.ts";

/** 256 bits: nobody guesses one. */
const SECRET_BYTES = 32;
export const MAX_TOKENS_PER_UID = 128;

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

export class RightsBook {
  readonly #store: RightsStore;
  readonly #public: Set<string>;

  constructor(store: RightsStore) {
    this.#store = store;
    this.#public = new Set(store.publicDevices());
  }

  isPublic(deviceUuid: string): boolean {
    return this.#public.has(deviceUuid);
  }

  /** The same of a device that may have been removed since. */
  wasPublic(deviceUuid: string): boolean {
    return this.isPublic(deviceUuid) || this.#store.wasPublic(deviceUuid);
  }

  setPublic(deviceUuid: string, isPublic: boolean): void {
    this.#store.setPublic(deviceUuid, isPublic);
    if (isPublic) this.#public.add(deviceUuid);
    else this.#public.delete(deviceUuid);
  }

  /** The secret is told once, here: only its hash is kept. */
  createToken(fields: NewToken): { readonly token: Token; readonly secret: string } {
    const now = Date.now();
    const held = this.#store
      .tokens(now)
      .filter(({ creatorUid }) => creatorUid === fields.creatorUid);
    if (held.length >= MAX_TOKENS_PER_UID) {
      throw new RequestError({
        code: "LIMIT",
        operation: "token.create",
        object: "the tokens",
        reason: `you have ${held.length}, the limit is ${MAX_TOKENS_PER_UID}`,
        hint: "Revoke those that are not needed.",
      });
    }
    const secret = randomBytes(SECRET_BYTES).toString("base64url");
    const token: Token = { ...fields, createdAtMs: now };
    this.#store.addToken(token, hashOf(secret));
    return { token, secret };
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

  tokenById(id: string): Token | undefined {
    return this.#store.tokenById(id);
  }

  revoke(id: string): void {
    this.#store.removeToken(id);
  }

  forgetDevice(deviceUuid: string): void {
    this.#store.forgetDevice(deviceUuid);
    this.#public.delete(deviceUuid);
  }

  close(): void {
    this.#store.close();
  }
}

/** A random secret of 256 bits needs no slow hash. */
function hashOf(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}

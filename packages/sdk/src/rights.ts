/** Who may do what, and rights given to others. */
import type { MethodParams, MethodResult } from "@thinpool/protocol";
import type { CallOptions, ChangeOptions, Requests } from "./requests.ts";
import type { Device } from "./resources.ts";
import { deviceFromWire } from "./resources.ts";

export type WhoAmI = MethodResult<"policy.whoami">;
export type PolicyQuestion = MethodParams<"policy.test">;
export type PolicyAnswer = MethodResult<"policy.test">;
/** A token without its secret. */
export type TokenEntry = MethodResult<"token.list">[number];
/** `secret` is told this once. */
export type NewToken = MethodResult<"token.create">;
/** A token to connect by, without its secret. */
export type ConnectTokenEntry = MethodResult<"token.listConnect">[number];
/** `secret` is told this once. */
export type NewConnectToken = MethodResult<"token.createConnect">;

/** All reject with ThinpoolError. Use `client.rights`. */
export class Rights {
  readonly #requests: Pick<Requests, "call">;

  constructor(requests: Pick<Requests, "call">) {
    this.#requests = requests;
  }

  /** The caller as the daemon sees him: ids, the rules about him, his limits. */
  async whoAmI(options: CallOptions = {}): Promise<WhoAmI> {
    return this.#requests.call("policy.whoami", {}, options);
  }

  /** The rule that decides whether a user may do something. Administrators only: FORBIDDEN, NOT_FOUND. */
  async test(question: PolicyQuestion, options: CallOptions = {}): Promise<PolicyAnswer> {
    return this.#requests.call("policy.test", question, options);
  }

  /**
   * Makes one of root's devices an image that all may clone whom the policy lets clone public ones; or
   * takes that back. Administrators only: FORBIDDEN, NOT_FOUND, INVALID_PARAMS for a user's device.
   */
  async publish(
    options: { readonly name: string; readonly public?: boolean } & ChangeOptions,
  ): Promise<Device> {
    const { name, public: isPublic = true } = options;
    const params = { name, public: isPublic };
    return deviceFromWire(await this.#requests.call("device.publish", params, options));
  }

  /** Lets whoever has the secret clone, or mount read-only, one device of the caller's: LIMIT, NOT_FOUND. */
  async createToken(
    options: {
      readonly device: string;
      readonly allow: readonly ("clone" | "mount-read-only")[];
      readonly lifetimeMs: number;
      /** Only this user may use it. */
      readonly uid?: number;
    } & ChangeOptions,
  ): Promise<NewToken> {
    const { device, allow, lifetimeMs, uid } = options;
    const params = { device, allow: [...allow], lifetimeMs, ...(uid === undefined ? {} : { uid }) };
    return this.#requests.call("token.create", params, options);
  }

  /**
   * Makes a token to connect over TCP by, as the caller, or, for root, as any user: FORBIDDEN where the
   * policy has no `allow.connect` for the caller, or he has come by such a token himself; LIMIT.
   * `lifetimeMs`: a second to a year.
   */
  async createConnectToken(
    options: { readonly lifetimeMs: number; readonly uid?: number } & ChangeOptions,
  ): Promise<NewConnectToken> {
    const { lifetimeMs, uid } = options;
    const params = { lifetimeMs, ...(uid === undefined ? {} : { uid }) };
    return this.#requests.call("token.createConnect", params, options);
  }

  /** Tokens to connect by: those that are the caller's, or were made by him; root sees all. */
  async connectTokens(options: CallOptions = {}): Promise<readonly ConnectTokenEntry[]> {
    return this.#requests.call("token.listConnect", {}, options);
  }

  /**
   * Ends a token of either kind at once, and the connections that were made by it. NOT_FOUND where the
   * caller has made no such token.
   */
  async revokeToken(options: { readonly id: string } & ChangeOptions): Promise<void> {
    await this.#requests.call("token.revoke", { id: options.id }, options);
  }

  /** Those that the caller has made and that hold still; root sees all. */
  async tokens(options: CallOptions = {}): Promise<readonly TokenEntry[]> {
    return this.#requests.call("token.list", {}, options);
  }
}

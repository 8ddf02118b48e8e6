/** The policy that holds now. Re-read on demand; a broken file changes nothing. */
import type { Logger } from "../log.ts";
import { defaultPolicy } from "./compile-policy.ts";
import { readPolicyFile } from "./policy-file.ts";
import type { Policy } from "./rights.ts";

export class LivePolicy {
  readonly #path: string | undefined;
  readonly #logger: Logger;
  #current: Policy;
  #reloading: Promise<void> = Promise.resolve();

  private constructor(path: string | undefined, current: Policy, logger: Logger) {
    this.#path = path;
    this.#current = current;
    this.#logger = logger;
  }

  /** Rejects with StartError where there is a file and it is refused. */
  static async load(
    path: string | undefined,
    socketGroup: number | undefined,
    logger: Logger,
  ): Promise<LivePolicy> {
    const first =
      path === undefined ? defaultPolicy(socketGroup) : (await readPolicyFile(path)).policy;
    return new LivePolicy(path, first, logger);
  }

  get current(): Policy {
    return this.#current;
  }

  /** Never rejects: where the file is refused, the policy stays as it is, and the log has why. */
  reload(): Promise<void> {
    // One after another: a reading that began earlier must not end later, with what the file said then.
    this.#reloading = this.#reloading.then(() => this.#readAnew());
    return this.#reloading;
  }

  async #readAnew(): Promise<void> {
    const path = this.#path;
    if (path === undefined) return;
    try {
      this.#current = (await readPolicyFile(path)).policy;
      this.#logger.log("info", "policy-read", { path, rules: this.#current.rules.length });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#logger.log("error", "policy-refused", { path, reason });
    }
  }
}

/**
 * As whom the processes run that are the daemon's own: not as root, and not as "nobody", whose other
 * processes could signal them: each as an account that nobody else uses.
 */
import { accountOf } from "../accounts.ts";
import { StartError } from "../start-error.ts";
import type { Identity } from "./privileges.ts";

export interface ReservedAccount {
  /** Where the service's set-up has made it … */
  readonly account: string;
  /** … else this number, which Debian's policy reserves and gives to no account (section 9.2.2). */
  readonly uid: number;
  /** Ends the sentence "it can't be the one that". */
  readonly purpose: string;
}

export const ROOT_WORKER: ReservedAccount = {
  account: "thinpool-worker",
  uid: 65_533,
  purpose: "reads root's connections",
};

export const GATEWAY: ReservedAccount = {
  account: "thinpool-gateway",
  uid: 65_532,
  purpose: "reads what comes over TCP",
};

/** Throws StartError where the reserved number is somebody's. */
export async function reservedIdentity({
  account,
  uid,
  purpose,
}: ReservedAccount): Promise<Identity> {
  const present = await accountOf(account);
  if (present !== undefined) return present;
  if ((await accountOf(uid)) === undefined) return { uid, gid: uid };
  throw new StartError({
    code: "OPTION_INVALID",
    object: `uid ${uid}`,
    reason: `it has an account, so it can't be the one that ${purpose}`,
    hint: `Make an account for that: useradd --system --no-create-home ${account}.`,
  });
}

/**
 * As whom the worker runs that reads root's connections. Not as root, and not as "nobody", whose other
 * processes could signal it: as an account that nobody else uses.
 */
import { accountOf } from "../accounts.ts";
import { StartError } from "../start-error.ts";
import type { Identity } from "./privileges.ts";

/** The account, where the service's set-up has made it … */
export const ROOT_WORKER_ACCOUNT = "thinpool-worker";
/** … else this number, which Debian's policy reserves and gives to no account (section 9.2.2). */
export const ROOT_WORKER_UID = 65_533;

/** Throws StartError where the reserved number is somebody's. */
export async function rootWorkerIdentity(): Promise<Identity> {
  const account = await accountOf(ROOT_WORKER_ACCOUNT);
  if (account !== undefined) return account;
  if ((await accountOf(ROOT_WORKER_UID)) === undefined) {
    return { uid: ROOT_WORKER_UID, gid: ROOT_WORKER_UID };
  }
  throw new StartError({
    code: "OPTION_INVALID",
    object: `uid ${ROOT_WORKER_UID}`,
    reason: "it has an account, so it can't be the one that reads root's connections",
    hint: `Make an account for that: useradd --system --no-create-home ${ROOT_WORKER_ACCOUNT}.`,
  });
}

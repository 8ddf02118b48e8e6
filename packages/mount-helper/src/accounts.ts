/** The machine's own accounts, from /etc/passwd and /etc/group: root's files, so their word counts. */
import { readFile } from "node:fs/promises";
import type { AccountNames } from "./policy/compile-policy.ts";

const PASSWD = "/etc/passwd";
const GROUP = "/etc/group";
/** The kernel's overflow id: a group that nobody is in. */
export const NO_GROUP = 65_534;

async function rows(path: string): Promise<readonly (readonly string[])[]> {
  const text = await readFile(path, "utf8");
  return text.split("\n").map((line) => line.split(":"));
}

/** Undefined where there is no such group. */
export async function groupIdOf(name: string): Promise<number | undefined> {
  const row = (await rows(GROUP)).find((fields) => fields[0] === name);
  return row?.[2] !== undefined && /^\d+$/.test(row[2]) ? Number(row[2]) : undefined;
}

/** The user's primary group; NO_GROUP for a uid without an account. */
export async function primaryGroupOf(uid: number): Promise<number> {
  const row = (await rows(PASSWD)).find((fields) => fields[2] === String(uid));
  return row?.[3] !== undefined && /^\d+$/.test(row[3]) ? Number(row[3]) : NO_GROUP;
}

/** The groups that /etc/group lists the user's account in; none for a uid without an account. */
export async function groupIdsOf(uid: number): Promise<readonly number[]> {
  const account = (await rows(PASSWD)).find((fields) => fields[2] === String(uid))?.[0];
  if (account === undefined) return [];
  return (await rows(GROUP))
    .filter((fields) => (fields[3] ?? "").split(",").includes(account))
    .map((fields) => Number(fields[2]))
    .filter((gid) => Number.isInteger(gid));
}

/** Undefined where there is no such account. */
export async function accountOf(
  user: string | number,
): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  const key = typeof user === "number" ? 2 : 0;
  const row = (await rows(PASSWD)).find((fields) => fields[key] === String(user));
  const [uid, gid] = [row?.[2], row?.[3]].map(Number);
  return row === undefined || !Number.isInteger(uid) || !Number.isInteger(gid)
    ? undefined
    : { uid: uid ?? NO_GROUP, gid: gid ?? NO_GROUP };
}

/** All names at once, for a file that names many. */
export async function accountNames(): Promise<AccountNames> {
  const [uids, gids] = (await Promise.all([rows(PASSWD), rows(GROUP)])).map((table) => {
    return new Map(
      table.map(([name = "", , id = ""]) => [name, /^\d+$/.test(id) ? Number(id) : undefined]),
    );
  });
  return { uidOf: (name) => uids?.get(name), gidOf: (name) => gids?.get(name) };
}

/** The ids that the machine's files give a user: for what is done for him in his absence. */
export async function idsOf(
  uid: number,
): Promise<{ readonly uid: number; readonly gid: number; readonly groups: readonly number[] }> {
  const [gid, groups] = await Promise.all([primaryGroupOf(uid), groupIdsOf(uid)]);
  return { uid, gid, groups };
}

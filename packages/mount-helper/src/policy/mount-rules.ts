/** What the policy lets a user's mounts be, in the words of the mounts. */
import type { MountRules, RulesFor } from "../mounts/rules.ts";
import { DEFAULT_MOUNT_RULES, ROOT_MOUNT_RULES } from "../mounts/rules.ts";
import type { LivePolicy } from "./live-policy.ts";
import type { Policy, Rule, Who } from "./rights.ts";
import { concerns } from "./rights.ts";

/** Users whose groups are remembered; the ones that were seen least lately go first. */
const MAX_REMEMBERED = 10_000;

/**
 * Asked by uid alone, for what happens in a user's absence, it takes the groups that he had at his last
 * call; none, and so the stricter rules, after a restart.
 */
export function mountRulesBy(live: Pick<LivePolicy, "current">): RulesFor {
  const remembered = new Map<number, Who>();
  return (principal) => {
    const { uid } = principal;
    if (uid === 0) return ROOT_MOUNT_RULES;
    const who = withGroups(principal) ?? remembered.get(uid) ?? { uid, gid: uid, groups: [] };
    remembered.delete(uid);
    remembered.set(uid, who);
    const [oldest] = remembered.keys();
    if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    return mountRulesOf(live.current, who);
  };
}

function withGroups(principal: { readonly uid: number } & Partial<Who>): Who | undefined {
  const { uid, gid, groups } = principal;
  return gid === undefined || groups === undefined ? undefined : { uid, gid, groups };
}

/** Roots and permission add up; of the rest the first rule about the caller that says something holds. */
export function mountRulesOf(policy: Policy, who: Who): MountRules {
  const own = policy.rules.filter((rule) => concerns(rule, who));
  const first = <T>(of: (rule: Rule) => T | undefined): T | undefined =>
    own.map(of).find((value) => value !== undefined);
  return {
    folderRoots: own.flatMap(({ mountRoots }) => mountRoots),
    noExec: first(({ noExec }) => noExec) ?? DEFAULT_MOUNT_RULES.noExec,
    noSymFollow: first(({ noSymFollow }) => noSymFollow) ?? DEFAULT_MOUNT_RULES.noSymFollow,
    lazyAfterMs: first(({ lazyUnmountAfterMs }) => lazyUnmountAfterMs),
    maxLeaseMs: first(({ limits }) => limits.holdMs) ?? DEFAULT_MOUNT_RULES.maxLeaseMs,
    otherNamespaces: own.some(({ otherNamespaces }) => otherNamespaces),
    blockDevices: own.some(({ blockDevices }) => blockDevices),
    permanent: own.some(({ permanentMounts }) => permanentMounts),
  };
}

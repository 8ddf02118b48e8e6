/** From the file's words to rules: names become numbers, patterns become expressions. */
import type { AccountEntry, PolicyFile, RuleEntry, UsersEntry } from "./policy-schema.ts";
import type { Limits, Policy, Rule, Users } from "./rights.ts";

/** Who the machine's own files say that a name is; undefined where there is no such account. */
export interface AccountNames {
  uidOf(name: string): number | undefined;
  gidOf(name: string): number | undefined;
}

export type Compiled =
  | { readonly ok: true; readonly policy: Policy }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Reports all problems at once. */
export function compilePolicy(file: PolicyFile, names: AccountNames): Compiled {
  const problems: string[] = [];
  const seen = new Set<string>();
  const rules = file.rules.map((entry, index) => {
    const place = `rules.${index} (${entry.name})`;
    if (seen.has(entry.name)) problems.push(`${place}: an earlier rule has the same name`);
    seen.add(entry.name);
    if (entry.users === undefined && (entry.groups ?? []).length === 0) {
      problems.push(`${place}: it is about nobody: give users or groups`);
    }
    return compileRule(entry, {
      users: (users) => compileUsers(users, names, (text) => problems.push(`${place}: ${text}`)),
      groups: (groups) =>
        resolve(
          groups,
          (name) => names.gidOf(name),
          (name) => {
            problems.push(`${place}: there is no group ${name}`);
          },
        ),
    });
  });
  return problems.length === 0 ? { ok: true, policy: { rules } } : { ok: false, problems };
}

interface Resolvers {
  readonly users: (users: UsersEntry | undefined) => Users;
  readonly groups: (groups: readonly AccountEntry[]) => ReadonlySet<number>;
}

function compileRule(entry: RuleEntry, { users, groups }: Resolvers): Rule {
  const { allow = {}, mount = {} } = entry;
  return {
    name: entry.name,
    users: users(entry.users),
    groups: groups(entry.groups ?? []),
    create: allow.create ?? false,
    clonePublic: allow.clone?.public ?? false,
    cloneNames: (allow.clone?.names ?? []).map(patternOf),
    see: users(allow.see),
    touch: users(allow.touch),
    onBehalfOf: users(allow.onBehalfOf),
    admin: allow.admin ?? false,
    connect: allow.connect ?? false,
    mountRoots: mount.roots ?? [],
    noExec: mount.noExec,
    noSymFollow: mount.noSymFollow,
    permanentMounts: mount.permanent ?? false,
    otherNamespaces: mount.otherNamespaces ?? false,
    blockDevices: mount.blockDevices ?? false,
    lazyUnmountAfterMs:
      mount.lazyUnmountAfterSeconds === undefined
        ? undefined
        : mount.lazyUnmountAfterSeconds * 1000,
    limits: compileLimits(entry),
  };
}

function compileLimits({ limits = {} }: RuleEntry): Partial<Limits> {
  const { virtualBytes, mappedBytes, holdSeconds, devices, mounts, leases } = limits;
  const { requestsInFlight, requestsPerSecond, requestSeconds } = limits;
  return {
    ...(devices === undefined ? {} : { devices }),
    ...(virtualBytes === undefined ? {} : { virtualBytes: BigInt(virtualBytes) }),
    ...(mappedBytes === undefined ? {} : { mappedBytes: BigInt(mappedBytes) }),
    ...(mounts === undefined ? {} : { mounts }),
    ...(leases === undefined ? {} : { leases }),
    ...(holdSeconds === undefined ? {} : { holdMs: holdSeconds * 1000 }),
    ...(requestsInFlight === undefined ? {} : { requestsInFlight }),
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond }),
    ...(requestSeconds === undefined ? {} : { requestMs: requestSeconds * 1000 }),
  };
}

function compileUsers(
  users: UsersEntry | undefined,
  names: AccountNames,
  problem: (text: string) => void,
): Users {
  if (users === "all") return "all";
  return resolve(
    users ?? [],
    (name) => names.uidOf(name),
    (name) => {
      problem(`there is no user ${name}`);
    },
  );
}

function resolve(
  entries: readonly AccountEntry[],
  idOf: (name: string) => number | undefined,
  missing: (name: string) => void,
): ReadonlySet<number> {
  const ids = new Set<number>();
  for (const entry of entries) {
    const found = typeof entry === "number" ? entry : idOf(entry);
    if (found === undefined) missing(String(entry));
    else ids.add(found);
  }
  return ids;
}

/** Anchored; all but * and ? stands for itself. Of the schema's alphabet only . and + mean something else. */
export function patternOf(pattern: string): RegExp {
  const source = Array.from(pattern, (character) => {
    if (character === "*") return ".*";
    if (character === "?") return ".";
    return /[.+]/.test(character) ? `\\${character}` : character;
  });
  return new RegExp(`^${source.join("")}$`, "u");
}

/**
 * Without a file: who may connect by this group (a name or a number) clones public images and owns what
 * it clones. Undefined: there is no such group, and only root may anything.
 */
export function defaultPolicyFile(socketGroup: AccountEntry | undefined): PolicyFile {
  if (socketGroup === undefined) return { version: 1, rules: [] };
  const allow = { clone: { public: true } };
  return { version: 1, rules: [{ name: "default", groups: [socketGroup], allow }] };
}

export function defaultPolicy(socketGroup: number | undefined): Policy {
  const { rules } = defaultPolicyFile(socketGroup);
  const none = (): ReadonlySet<number> => new Set();
  const groups = new Set(socketGroup === undefined ? [] : [socketGroup]);
  return { rules: rules.map((rule) => compileRule(rule, { users: none, groups: () => groups })) };
}

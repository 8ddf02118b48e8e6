/** A policy as text: what each rule gives, in words. */
import type { LimitsEntry, PolicyFile, RuleEntry, UsersEntry } from "@thinpool/mount-helper";
import { formatDuration } from "./duration.ts";
import { formatSize } from "./size.ts";
import { renderFields } from "./table.ts";

export interface ShownPolicy extends PolicyFile {
  /** The file; undefined where there is none and the built-in policy holds. */
  readonly path: string | undefined;
}

export function renderPolicy({ path, rules }: ShownPolicy): string {
  const head = renderFields([
    ["policy", path ?? "built in: there is no policy file"],
    ["root", "may do all, without limits"],
    ...(rules.length === 0 ? ([["others", "may do nothing"]] as const) : []),
  ]);
  return [head, ...rules.map(renderRule)].join("\n\n");
}

function renderRule(rule: RuleEntry): string {
  const lines: (readonly [string, string])[] = [
    ["rule", rule.name],
    ["about", aboutOf(rule)],
    ["may", rightsOf(rule).join("; ")],
  ];
  const mounts = mountsOf(rule);
  if (mounts.length > 0) lines.push(["mounts", mounts.join("; ")]);
  const limits = limitsOf(rule.limits ?? {});
  if (limits.length > 0) lines.push(["limits", limits.join(", ")]);
  return renderFields(lines);
}

function aboutOf({ users, groups = [] }: RuleEntry): string {
  const parts: string[] = [];
  if (users === "all") parts.push("everybody");
  else if (users !== undefined && users.length > 0) parts.push(`users ${users.join(", ")}`);
  if (groups.length > 0) parts.push(`members of ${groups.join(", ")}`);
  return parts.join("; ");
}

function whose(users: UsersEntry): string {
  return users === "all" ? "everybody" : users.join(", ");
}

type Allow = NonNullable<RuleEntry["allow"]>;

/** One for each right that there is, from what `allow` holds: the compiler misses the one without words. */
const RIGHTS: Readonly<Record<keyof Allow, (allow: Allow) => readonly (string | false)[]>> = {
  create: ({ create }) => [create === true && "make empty devices and import archives"],
  clone: ({ clone: { public: all, names = [] } = {} }) => [
    all === true && "clone public images",
    names.length > 0 && `clone root's ${names.join(", ")}`,
  ],
  see: ({ see }) => [see !== undefined && `see devices of ${whose(see)}`],
  touch: ({ touch }) => [touch !== undefined && `mount and remove devices of ${whose(touch)}`],
  onBehalfOf: ({ onBehalfOf: others }) => [
    others !== undefined && `act in the name of ${whose(others)}`,
  ],
  connect: ({ connect }) => [connect === true && "make tokens to connect over TCP as themselves"],
  admin: ({ admin }) => [
    admin === true &&
      "publish, check, back up and extend the pool, set its space policy, ask about others, see and revoke all tokens",
  ],
};

function rightsOf({ allow = {} }: RuleEntry): string[] {
  const given = Object.values(RIGHTS).flatMap((wordsOf) => wordsOf(allow));
  const rights = given.filter((words) => words !== false);
  return ["see the pool's state and use their own devices", ...rights];
}

function mountsOf({ mount = {} }: RuleEntry): string[] {
  const { roots = [], noExec, noSymFollow, permanent, lazyUnmountAfterSeconds } = mount;
  const { otherNamespaces, blockDevices } = mount;
  const said: string[] = [];
  if (roots.length > 0) said.push(`on folders of their own below ${roots.join(", ")}`);
  if (noExec !== undefined) said.push(noExec ? "no programs" : "programs");
  if (noSymFollow !== undefined) said.push(noSymFollow ? "no symbolic links" : "symbolic links");
  if (permanent === true) said.push("permanent ones");
  if (otherNamespaces === true) said.push("in their containers");
  if (blockDevices === true) said.push("devices as block devices");
  if (lazyUnmountAfterSeconds !== undefined) {
    said.push(`taken off ${formatDuration(lazyUnmountAfterSeconds * 1000)} after their end`);
  }
  return said;
}

/** One for each limit that there is: the compiler misses the one that has no words. */
const LIMITS: Readonly<Record<keyof LimitsEntry, (value: number | string) => string>> = {
  devices: (count) => `${count} devices`,
  virtualBytes: (bytes) => `${formatSize(BigInt(bytes))} of devices`,
  mappedBytes: (bytes) => `${formatSize(BigInt(bytes))} of the pool`,
  mounts: (count) => `${count} mounts`,
  leases: (count) => `${count} leases`,
  holdSeconds: (seconds) => `leases of ${formatDuration(Number(seconds) * 1000)}`,
  requestsInFlight: (count) => `${count} requests at a time`,
  requestsPerSecond: (count) => `${count} requests a second`,
  requestSeconds: (seconds) => `calls of ${formatDuration(Number(seconds) * 1000)}`,
};

function limitsOf(limits: LimitsEntry): string[] {
  return Object.entries(LIMITS).flatMap(([limit, say]) => {
    const value = limits[limit as keyof LimitsEntry];
    return value === undefined ? [] : [say(value)];
  });
}

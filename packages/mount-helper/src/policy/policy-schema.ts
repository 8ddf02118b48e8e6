/** The policy file's JSON (docs/POLICY.md). Strict: what is not known is a mistake, and reported. */
import * as v from "valibot";

/** A name, or a number. */
export type AccountEntry = string | number;
export type UsersEntry = "all" | readonly AccountEntry[];

export interface LimitsEntry {
  readonly devices?: number | undefined;
  readonly virtualBytes?: string | undefined;
  readonly mappedBytes?: string | undefined;
  readonly mounts?: number | undefined;
  readonly leases?: number | undefined;
  readonly holdSeconds?: number | undefined;
  readonly requestsInFlight?: number | undefined;
  readonly requestsPerSecond?: number | undefined;
  readonly requestSeconds?: number | undefined;
}

export interface RuleEntry {
  readonly name: string;
  readonly users?: UsersEntry | undefined;
  readonly groups?: readonly AccountEntry[] | undefined;
  readonly allow?:
    | {
        readonly create?: boolean | undefined;
        readonly clone?:
          | {
              readonly public?: boolean | undefined;
              readonly names?: readonly string[] | undefined;
            }
          | undefined;
        readonly see?: UsersEntry | undefined;
        readonly touch?: UsersEntry | undefined;
        readonly onBehalfOf?: UsersEntry | undefined;
        readonly admin?: boolean | undefined;
        readonly connect?: boolean | undefined;
      }
    | undefined;
  readonly mount?:
    | {
        readonly roots?: readonly string[] | undefined;
        readonly noExec?: boolean | undefined;
        readonly noSymFollow?: boolean | undefined;
        readonly permanent?: boolean | undefined;
        readonly otherNamespaces?: boolean | undefined;
        readonly blockDevices?: boolean | undefined;
        readonly lazyUnmountAfterSeconds?: number | undefined;
      }
    | undefined;
  readonly limits?: LimitsEntry | undefined;
}

export interface PolicyFile {
  readonly version: 1;
  readonly rules: readonly RuleEntry[];
}

const MAX_RULES = 1000;
const MAX_ENTRIES = 1000;
const MAX_ID = 0xffff_fffe;

const id = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_ID));
/** A name of /etc/passwd or /etc/group (useradd's alphabet), or a number. */
const account = v.union([id, v.pipe(v.string(), v.regex(/^[a-z_][a-z0-9_.-]{0,31}$/i))]);
const accounts = v.pipe(v.array(account), v.maxLength(MAX_ENTRIES));
const users = v.union([v.literal("all"), accounts]);
/** A device's name with `*` for any text and `?` for one character. */
const namePattern = v.pipe(v.string(), v.regex(/^[A-Za-z0-9._+*?-]{1,64}$/));
/** An absolute path in its shortest form. */
const path = v.pipe(
  v.string(),
  v.maxLength(4095),
  v.regex(/^(\/|(\/(?!\.{1,2}(\/|$))[^/\0\n]+)+)$/, "Invalid path: absolute, without . and .."),
);
const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(1_000_000));
const positive = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1_000_000));
const bytes = v.pipe(
  v.string(),
  v.regex(/^(0|[1-9][0-9]{0,18})$/, "Invalid bytes: decimal digits"),
);
/** Up to ten years. */
const seconds = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(315_360_000));

/** Up to a day: what may take longer belongs to nobody's single call. */
const requestSeconds = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(86_400));

const limits = v.strictObject({
  devices: v.optional(count),
  virtualBytes: v.optional(bytes),
  mappedBytes: v.optional(bytes),
  mounts: v.optional(count),
  leases: v.optional(count),
  holdSeconds: v.optional(seconds),
  requestsInFlight: v.optional(positive),
  requestsPerSecond: v.optional(positive),
  requestSeconds: v.optional(requestSeconds),
});

const allow = v.strictObject({
  create: v.optional(v.boolean()),
  clone: v.optional(
    v.strictObject({
      public: v.optional(v.boolean()),
      names: v.optional(v.pipe(v.array(namePattern), v.maxLength(MAX_ENTRIES))),
    }),
  ),
  see: v.optional(users),
  touch: v.optional(users),
  onBehalfOf: v.optional(users),
  admin: v.optional(v.boolean()),
  connect: v.optional(v.boolean()),
});

const mount = v.strictObject({
  roots: v.optional(v.pipe(v.array(path), v.maxLength(MAX_ENTRIES))),
  noExec: v.optional(v.boolean()),
  noSymFollow: v.optional(v.boolean()),
  permanent: v.optional(v.boolean()),
  otherNamespaces: v.optional(v.boolean()),
  blockDevices: v.optional(v.boolean()),
  lazyUnmountAfterSeconds: v.optional(seconds),
});

const rule = v.strictObject({
  name: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/i)),
  users: v.optional(users),
  groups: v.optional(accounts),
  allow: v.optional(allow),
  mount: v.optional(mount),
  limits: v.optional(limits),
});

const policyFile: v.GenericSchema<unknown, PolicyFile> = v.strictObject({
  version: v.literal(1),
  rules: v.pipe(v.array(rule), v.maxLength(MAX_RULES)),
});

/** The value, or everything that is wrong with it, each with its place. */
export function checkPolicyFile(
  value: unknown,
):
  | { readonly ok: true; readonly file: PolicyFile }
  | { readonly ok: false; readonly problems: readonly string[] } {
  const parsed = v.safeParse(policyFile, value);
  if (parsed.success) return { ok: true, file: parsed.output };
  const problems = parsed.issues.map(
    (issue) => `${v.getDotPath(issue) ?? "the file"}: ${issue.message}`,
  );
  return { ok: false, problems };
}

/** What `doctor` found out about one thing that the main job may need. */

export interface Finding {
  /** Stable: `--json` prints it, scripts match on it. */
  readonly topic: string;
  /** "lacking" stops the main job where `needed`; "unknown": this user may not look. */
  readonly state: "ok" | "lacking" | "unknown";
  /** Whether a pool can't be run without it. */
  readonly needed: boolean;
  /** One line: what was found. */
  readonly found: string;
  /** The command or the step that mends a lack. */
  readonly mend?: string;
}

export interface Diagnosis {
  /** An unprivileged program can clone and mount now: the daemon answers. */
  readonly canUse: boolean;
  /** A pool can be made and served here: nothing that is needed lacks. */
  readonly canServe: boolean;
  readonly findings: readonly Finding[];
}

export function diagnose(findings: readonly Finding[]): Diagnosis {
  return {
    canUse: findings.some(({ topic, state }) => topic === "daemon" && state === "ok"),
    canServe: findings.every(({ needed, state }) => !needed || state === "ok"),
    findings,
  };
}

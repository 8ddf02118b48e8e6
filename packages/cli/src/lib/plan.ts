/** What `--dry-run` answers: the steps that were not done. */

export interface Plan {
  readonly dryRun: true;
  /** Each a verb and its object: "remove device base (10 GiB, ext4)". */
  readonly would: readonly string[];
}

export function renderPlan({ would }: Plan): string {
  if (would.length === 0) return "would change nothing";
  return would.map((step) => `would ${step}`).join("\n");
}

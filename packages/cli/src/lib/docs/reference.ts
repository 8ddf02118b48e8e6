/** The command reference in Markdown. */
import { type CommandEntry, usageOf } from "./entries.ts";

export function renderReference(entries: readonly CommandEntry[]): string {
  const sections = entries.map((entry) => {
    const lines = [`## thinpool ${entry.path.join(" ")}`, "", entry.summary, ""];
    if (entry.description !== "") lines.push(entry.description, "");
    lines.push("```", usageOf(entry), "```", "");
    for (const { label, description } of entry.args) lines.push(`- \`${label}\`: ${description}`);
    for (const { usage, summary } of entry.flags) lines.push(`- \`${usage}\`: ${summary}`);
    lines.push("");
    if (entry.examples.length > 0) lines.push("```sh", ...entry.examples, "```", "");
    return lines.join("\n");
  });
  return [
    "# The commands of thinpool",
    "",
    "Made from the commands themselves by `pnpm --filter @thinpool/cli docs`; a test fails when it is",
    "not current.",
    "",
    ...sections,
  ].join("\n");
}

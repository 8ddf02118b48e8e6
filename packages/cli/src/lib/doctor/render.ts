/** A diagnosis for people: a line each, the mend below what lacks, and the verdict. */
import { styleText } from "node:util";
import type { Diagnosis, Finding } from "./finding.ts";

const MARKS: Readonly<Record<Finding["state"], readonly ["green" | "red" | "yellow", string]>> = {
  ok: ["green", "ok"],
  lacking: ["red", "lacks"],
  unknown: ["yellow", "?"],
};
const MARK_WIDTH = 5;

export function renderDiagnosis(
  { findings, canUse, canServe }: Diagnosis,
  stream: NodeJS.WriteStream,
): string {
  const width = Math.max(...findings.map(({ topic }) => topic.length));
  const lines = findings.flatMap(({ topic, state, found, mend }) => {
    const [colour, word] = MARKS[state];
    const mark = styleText(colour, word.padEnd(MARK_WIDTH), { stream });
    const line = `${mark}  ${topic.padEnd(width)}  ${found}`;
    return mend === undefined ? [line] : [line, `${" ".repeat(MARK_WIDTH + width + 4)}-> ${mend}`];
  });
  return [
    ...lines,
    "",
    `use a pool here:   ${canUse ? "yes" : "no, no daemon answers"}`,
    `serve a pool here: ${canServe ? "yes" : "no, see what lacks or could not be seen"}`,
  ].join("\n");
}

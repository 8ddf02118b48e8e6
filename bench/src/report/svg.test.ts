import assert from "node:assert/strict";
import { test } from "node:test";
import { barPlot, linePlot } from "./svg.ts";

/** The numbers of an attribute, in order. */
function numbers(svg: string, pattern: RegExp): number[] {
  return [...svg.matchAll(pattern)].map((match) => Number(match[1]));
}

test("ten times the value is one decade further, and text is escaped", () => {
  const bar = (label: string, value: number) => ({
    ...{ label, value, low: value, high: value, ours: false },
  });
  const svg = barPlot("a < b", "ms", [bar("one", 1), bar("ten & more", 10), bar("hundred", 100)]);
  const [one = 0, ten = 0, hundred = 0] = numbers(svg, /<rect x="190"[^>]* width="([\d.]+)"/g);
  assert.equal(one, 0);
  assert.ok(Math.abs(hundred - 2 * ten) < 0.2, `${ten} ${hundred}`);
  assert.match(svg, /a &lt; b/);
  assert.match(svg, /ten &amp; more/);
});

test("a line rises with its values and stays inside the frame", () => {
  const svg = linePlot("growth", "ms", [
    {
      label: "open",
      points: [
        { x: 10, y: 1 },
        { x: 100, y: 5 },
        { x: 10_000, y: 40 },
      ],
    },
  ]);
  const heights = numbers(svg, /cy="([\d.]+)"/g);
  assert.equal(heights.length, 3);
  assert.deepEqual(
    heights,
    heights.toSorted((a, b) => b - a),
  );
  for (const height of heights) assert.ok(height >= 44 && height <= 326, String(height));
});

/** Small plots as SVG: bars on a logarithmic scale, and lines. No dependency, no script. */

const WIDTH = 720;
const LEFT = 190;
const RIGHT = 110;
const BAR = 22;
const GAP = 10;
const TOP = 44;
const FONT = 'font-family="sans-serif" font-size="13"';

export function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** The quartiles. */
  readonly low: number;
  readonly high: number;
  readonly ours: boolean;
}

function frame(title: string, height: number, body: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(title)}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="24" ${FONT} font-weight="bold" fill="#222">${escape(title)}</text>`,
    ...body,
    "</svg>\n",
  ].join("\n");
}

/** Powers of ten that enclose all values. */
function decades(values: readonly number[]): { readonly from: number; readonly to: number } {
  const positive = values.filter((value) => value > 0);
  const from = Math.floor(Math.log10(Math.min(...positive)));
  return { from, to: Math.max(from + 1, Math.ceil(Math.log10(Math.max(...positive)))) };
}

/** One bar a row; a whisker from quartile to quartile. */
export function barPlot(title: string, unit: string, bars: readonly Bar[]): string {
  const { from, to } = decades(bars.flatMap(({ value, low, high }) => [value, low, high]));
  const x = (value: number): number =>
    LEFT +
    ((Math.log10(Math.max(value, 10 ** from)) - from) / (to - from)) * (WIDTH - LEFT - RIGHT);
  const height = TOP + bars.length * (BAR + GAP) + 30;
  const grid = Array.from({ length: to - from + 1 }, (_, index) => {
    const at = x(10 ** (from + index)).toFixed(1);
    return `<path d="M${at} ${TOP - 8}V${height - 26}" stroke="#ddd"/><text x="${at}" y="${height - 10}" ${FONT} text-anchor="middle" fill="#666">${10 ** (from + index)} ${unit}</text>`;
  });
  const rows = bars.map(({ label, value, low, high, ours }, index) => {
    const y = TOP + index * (BAR + GAP);
    const middle = y + BAR / 2;
    return [
      `<text x="${LEFT - 8}" y="${middle + 5}" ${FONT} text-anchor="end" fill="#222">${escape(label)}</text>`,
      `<rect x="${LEFT}" y="${y}" width="${(x(value) - LEFT).toFixed(1)}" height="${BAR}" fill="${ours ? "#1f6feb" : "#9aa5b1"}"/>`,
      `<path d="M${x(low).toFixed(1)} ${middle}H${x(high).toFixed(1)}" stroke="#222" stroke-width="2"/>`,
      `<text x="${(Math.max(x(value), x(high)) + 8).toFixed(1)}" y="${middle + 5}" ${FONT} fill="#222">${value >= 100 ? value.toFixed(0) : value.toFixed(1)}</text>`,
    ].join("");
  });
  return frame(`${title} (${unit}, logarithmic; line: half of all runs)`, height, [
    ...grid,
    ...rows,
  ]);
}

export interface Line {
  readonly label: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

const COLOURS = ["#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#475569"];
const LINE_HEIGHT = 360;

/** Both axes logarithmic. */
export function linePlot(title: string, unit: string, lines: readonly Line[]): string {
  const points = lines.flatMap((line) => line.points);
  const across = decades(points.map((point) => point.x));
  const up = decades(points.map((point) => point.y));
  const bottom = LINE_HEIGHT - 34;
  const left = 90;
  const x = (value: number): number =>
    left + ((Math.log10(value) - across.from) / (across.to - across.from)) * (WIDTH - left - 190);
  const y = (value: number): number =>
    bottom - ((Math.log10(value) - up.from) / (up.to - up.from)) * (bottom - TOP);
  const columns = Array.from({ length: across.to - across.from + 1 }, (_, index) => {
    const value = 10 ** (across.from + index);
    return `<path d="M${x(value).toFixed(1)} ${TOP}V${bottom}" stroke="#ddd"/><text x="${x(value).toFixed(1)}" y="${bottom + 20}" ${FONT} text-anchor="middle" fill="#666">${value}</text>`;
  });
  const rows = Array.from({ length: up.to - up.from + 1 }, (_, index) => {
    const value = 10 ** (up.from + index);
    return `<path d="M${left} ${y(value).toFixed(1)}H${WIDTH - 190}" stroke="#ddd"/><text x="${left - 8}" y="${(y(value) + 5).toFixed(1)}" ${FONT} text-anchor="end" fill="#666">${value} ${unit}</text>`;
  });
  const drawn = lines.flatMap((line, index) => {
    const colour = COLOURS[index % COLOURS.length] ?? "#222";
    const last = line.points.at(-1);
    if (last === undefined) return [];
    const path = line.points.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`);
    return [
      `<polyline points="${path.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...path.map((at) => {
        const [cx = "0", cy = "0"] = at.split(",");
        return `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${colour}"/>`;
      }),
      `<text x="${WIDTH - 180}" y="${TOP + 16 + index * 20}" ${FONT} fill="${colour}">${escape(line.label)}</text>`,
    ];
  });
  return frame(`${title} (${unit}, both axes logarithmic)`, LINE_HEIGHT, [
    ...columns,
    ...rows,
    ...drawn,
  ]);
}

import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import type { Report } from './report.ts';

const WIDTH = 900;
const UPPER = 300;
const LOWER = 240;
const TITLE = 26;
const GOAL = -0.0015;

/** What is drawn, in the order of the legend. */
const SHOWN = [
  { name: 'frozen', colour: '#8d99ae' },
  { name: 'warmStart@4h', colour: '#c77d1e' },
  { name: 'floor', colour: '#7a5195' },
  { name: 'full@4h', colour: '#222222' },
  { name: 'incremental@4h', colour: '#1d6fa5' },
  { name: 'online@1h', colour: '#2a9d5c' },
] as const;

/** An SVG document: AUC over the last day by cycle, and how far incremental is from full, with its band. */
export function plotOf(report: Report): string {
  const parts = [
    { top: TITLE, svg: aucs(report) },
    { top: 2 * TITLE + UPPER, svg: difference(report) },
  ];
  const titles = [
    { top: 18, text: 'AUC of the 24 h up to each cycle; every block is scored before it is trained on' },
    {
      top: 18 + TITLE + UPPER,
      text: `AUC of incremental minus full within cycles, mean since the bootstrap, with its 95 % interval (goal: ${String(GOAL)})`,
    },
  ];
  const height = 2 * TITLE + UPPER + LOWER;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    ...titles.map(({ top, text }) => `<text x="10" y="${top}" font-size="13" font-weight="600">${text}</text>`),
    ...parts.map(({ top, svg }) => svg.replace(/^<svg /, `<svg y="${top}" `)),
    '</svg>\n',
  ].join('\n');
}

function aucs(report: Report): string {
  const shown = SHOWN.filter(({ name }) => report.strategies[name] !== undefined);
  const begin = report.bootstrap.untilMs;
  const points = shown.flatMap(({ name }) =>
    report.cycles.flatMap(({ toMs, trailing }) => {
      const auc = trailing[name] ?? null;
      return auc === null ? [] : [{ name, days: daysSince(begin, toMs), auc }];
    }),
  );
  return chart({
    height: UPPER,
    marginRight: 120,
    x: { label: null, grid: true },
    y: { label: 'AUC', grid: true },
    color: { domain: shown.map(({ name }) => name), range: shown.map(({ colour }) => colour) },
    marks: [
      Plot.lineY(points, { x: 'days', y: 'auc', stroke: 'name', strokeWidth: 1.8 }),
      Plot.text(spread(points), {
        x: 'days',
        y: 'auc',
        text: 'name',
        fill: 'name',
        textAnchor: 'start',
        dx: 6,
        fontSize: 12,
      }),
    ],
  });
}

function difference({ cycles, intervals, bootstrap }: Report): string {
  const points = cycles.flatMap(({ toMs }, index) => {
    const found = intervals.cumulatedDifference[index];
    const [low, high] = found?.interval ?? [null, null];
    if (found?.mean == null || low === null || high === null) return [];
    return [{ days: daysSince(bootstrap.untilMs, toMs), mean: found.mean, low, high }];
  });
  return chart({
    height: LOWER,
    marginRight: 120,
    x: { label: 'days after the bootstrap', grid: true },
    y: { label: 'difference', grid: true },
    marks: [
      Plot.areaY(points, { x: 'days', y1: 'low', y2: 'high', fill: '#1d6fa5', fillOpacity: 0.2 }),
      Plot.lineY(points, { x: 'days', y: 'mean', stroke: '#1d6fa5', strokeWidth: 2 }),
      Plot.ruleY([0]),
      Plot.ruleY([GOAL], { stroke: '#c1272d', strokeDasharray: '4,3' }),
    ],
  });
}

interface Point {
  name: string;
  days: number;
  auc: number;
}

/** The last point of each line, moved apart so that their names do not cover each other. */
function spread(points: readonly Point[]): Point[] {
  const values = points.map(({ auc }) => auc);
  const least = ((Math.max(...values) - Math.min(...values)) / UPPER) * 18;
  const last = [...new Map(points.map((point) => [point.name, point])).values()].sort((a, b) => a.auc - b.auc);
  let below = -Infinity;
  return last.map((point) => {
    below = Math.max(point.auc, below + least);
    return { ...point, auc: below };
  });
}

function daysSince(beginMs: number, ms: number): number {
  return (ms - beginMs) / 86_400_000;
}

/** Drawn without a browser. The compiler knows no DOM here, hence the casts. */
function chart(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<html><body></body></html>') as unknown as { document: never };
  const svg = Plot.plot({ width: WIDTH, marginLeft: 60, ...options, document }) as unknown as { outerHTML: string };
  // Its style is meant for an SVG in a page: it would give one inside another the height of the outer.
  return svg.outerHTML.replace(/<style>.*?<\/style>/s, '');
}

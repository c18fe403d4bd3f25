import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { Html } from './html.ts';

/** The two sides of every comparison: what was, and what is. */
export const COLOURS = { reference: '#8d99ae', current: '#1d6fa5', alarm: '#c1272d' } as const;

const WIDTH = 460;
const HEIGHT = 150;

/** A bin [x1, x2) with the share of each side's rows in it. */
export interface Bin {
  x1: number;
  x2: number;
  reference: number | null;
  current: number;
}

/** Old over new: the reference as an area, the current rows as a line. Bins of no width are not drawn. */
export function distribution(bins: readonly Bin[], label: string): Html {
  const drawn = bins.filter(({ x1, x2 }) => x2 > x1);
  return chart({
    height: HEIGHT,
    x: { label, nice: false },
    y: { label: 'share of rows', grid: true, tickFormat: '%' },
    marks: [
      Plot.rectY(
        drawn.filter(({ reference }) => reference !== null),
        { x1: 'x1', x2: 'x2', y: 'reference', fill: COLOURS.reference, fillOpacity: 0.45 },
      ),
      Plot.rectY(drawn, { x1: 'x1', x2: 'x2', y: 'current', fill: 'none', stroke: COLOURS.current, strokeWidth: 1.5 }),
      Plot.ruleY([0]),
    ],
  });
}

/** Shares of categories, old over new, in the order given. */
export function categories(
  rows: readonly { value: string; reference: number | null; current: number }[],
  label: string,
): Html {
  const order = rows.map(({ value }) => value);
  return chart({
    height: 46 + 18 * rows.length,
    marginLeft: 170,
    x: { label: `${label}: share of rows`, grid: true, tickFormat: '%' },
    y: { label: null, domain: order },
    marks: [
      Plot.barX(
        rows.filter(({ reference }) => reference !== null),
        { y: 'value', x: 'reference', fill: COLOURS.reference, fillOpacity: 0.45 },
      ),
      Plot.barX(rows, { y: 'value', x: 'current', fill: COLOURS.current, insetTop: 5, insetBottom: 5 }),
      Plot.ruleX([0]),
    ],
  });
}

/** Rows by hour, the same hours one season before as a line; hours too young for a label are pale. */
export function volume(
  hours: readonly { startMs: number; rows: number; before: number | null; mature: boolean }[],
  hourMs: number,
): Html {
  const bars = hours.map(({ startMs, ...hour }) => ({
    ...hour,
    start: new Date(startMs),
    end: new Date(startMs + hourMs),
  }));
  return chart({
    width: 960,
    height: 220,
    x: { type: 'utc', label: 'event time (UTC)' },
    y: { label: 'rows an hour', grid: true },
    marks: [
      Plot.rectY(bars, {
        x1: 'start',
        x2: 'end',
        y: 'rows',
        fill: COLOURS.current,
        fillOpacity: (hour: { mature: boolean }) => (hour.mature ? 0.8 : 0.3),
        inset: 0.5,
      }),
      Plot.lineY(
        bars.filter(({ before }) => before !== null),
        {
          x: 'start',
          y: 'before',
          curve: 'step-after',
          stroke: COLOURS.alarm,
          strokeWidth: 1.2,
          strokeDasharray: '3,2',
        },
      ),
      Plot.ruleY([0]),
    ],
  });
}

/** Shares of the labels that had arrived by an age, and the age at which they count as complete. */
export function arrival(points: readonly { ms: number; share: number }[], maturityMs: number): Html {
  const minutes = points.map(({ ms, share }) => ({ age: ms / 60_000, share }));
  return chart({
    width: WIDTH,
    height: HEIGHT,
    x: { label: 'minutes after the impression', grid: true },
    y: { label: 'labels arrived', domain: [0, 1], grid: true, tickFormat: '%' },
    marks: [
      Plot.lineY([{ age: 0, share: 0 }, ...minutes], { x: 'age', y: 'share', stroke: COLOURS.current, strokeWidth: 2 }),
      Plot.dot(minutes, { x: 'age', y: 'share', fill: COLOURS.current }),
      Plot.ruleX([maturityMs / 60_000], { stroke: COLOURS.alarm, strokeDasharray: '3,2' }),
    ],
  });
}

/** Drawn without a browser, as SVG in the page. The compiler knows no DOM here, hence the casts. */
function chart(options: Plot.PlotOptions): Html {
  const { document } = parseHTML('<html><body></body></html>') as unknown as { document: never };
  const svg = Plot.plot({ width: WIDTH, ...options, document }) as unknown as { outerHTML: string };
  return new Html(svg.outerHTML);
}

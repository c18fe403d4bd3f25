import type { Interval } from '../../../policy/evaluation.ts';
import { html as svg, type Html } from '../../report/html.ts';
import { rangeOf, scale, ticks, type Scale } from './scale.ts';
import { label, line, marker, plot, PLOT_WIDTH, type Plot } from './svg.ts';

export type Side = 'challenger' | 'champion';

/** One metric with the intervals of one or both models. */
export interface IntervalRow {
  name: string;
  /** Under the name, smaller. */
  note: string;
  marks: readonly { side: Side; interval: Interval; text: string }[];
  /** Vertical lines: where nothing changes, and where a rule draws its line. */
  references: readonly { at: number; limit: boolean }[];
}

const [LEFT, RIGHT, TEXT] = [150, 486, 500];
const MARK = 20;

/** Dot and whiskers, each row on a scale of its own: metrics have none in common. */
export function intervalPlot(of: {
  name: string;
  title: string;
  description: string;
  rows: readonly IntervalRow[];
  legend: Html;
}): Plot {
  let y = 28;
  const body: Html[] = [of.legend];
  for (const row of of.rows) {
    body.push(intervalRow(row, y));
    y += rowHeight(row);
  }
  return plot({ ...of, height: y + 4, body });
}

function rowHeight({ marks }: IntervalRow): number {
  return Math.max(1, marks.length) * MARK + 36;
}

function intervalRow({ name, note, marks, references }: IntervalRow, top: number): Html {
  const values = marks.flatMap(({ interval: { estimate, lower, upper } }) => [estimate, lower, upper]);
  const known = values.some((value) => Number.isFinite(value));
  const x = scale(rangeOf([...values, ...references.map((reference) => reference.at)]), [LEFT, RIGHT]);
  const bottom = top + Math.max(1, marks.length) * MARK + 6;
  return svg`<g>
${label(0, top + 14, name, { as: 'strong', space: 22 })}${label(0, top + 29, note, { as: 'dim', space: 26 })}
${known ? axis(x, { top, bottom }) : label(LEFT, top + 14, 'unknown', { as: 'dim' })}
${known ? references.map((reference) => referenceLine(x, reference, { top, bottom })) : null}
${marks.map(({ side, interval, text }, index) => {
  const y = top + MARK / 2 + index * MARK + 3;
  return svg`${whisker(side, interval, { x, y })}${label(TEXT, y + 4, text, { space: 38 })}`;
})}
</g>`;
}

function axis(x: Scale, { top, bottom }: { top: number; bottom: number }): Html {
  return svg`${line([LEFT, bottom], [RIGHT, bottom], 'axis')}${ticks(x.from, x.to, 4).map(
    (value) =>
      svg`${line([x(value), top], [x(value), bottom + 4], 'grid')}${label(x(value), bottom + 15, String(value).replace('-', '−'), { as: 'dim middle' })}`,
  )}`;
}

function referenceLine(
  x: Scale,
  { at, limit }: IntervalRow['references'][number],
  { top, bottom }: { top: number; bottom: number },
): Html {
  return svg`${line([x(at), top - 2], [x(at), bottom], limit ? 'limit' : 'reference')}`;
}

/** The bounds as a line with ends, the estimate on it. */
export function whisker(
  side: Side,
  { estimate, lower, upper }: Interval,
  { x, y, size = 4 }: { x: Scale; y: number; size?: number },
): Html {
  if (!Number.isFinite(estimate)) return svg``;
  const bounds =
    Number.isFinite(lower) && Number.isFinite(upper)
      ? svg`${line([x(lower), y], [x(upper), y], side)}${line([x(lower), y - size], [x(lower), y + size], side)}${line([x(upper), y - size], [x(upper), y + size], side)}`
      : null;
  return svg`${bounds}${marker(side, x(estimate), y, size)}`;
}

/** Which mark is whose. */
export function legend({ champion, beside }: { champion: string | null; beside: string }): Html {
  const second =
    champion === null ? null : svg`${marker('champion', 106, 10)}${label(116, 14, champion, { as: 'dim', space: 30 })}`;
  return svg`<g>${marker('challenger', 6, 10)}${label(16, 14, 'this version', { as: 'dim' })}${second}<text x="${String(PLOT_WIDTH)}" y="14" class="dim end">${beside}</text></g>`;
}

import type { Interval } from '../../../policy/evaluation.ts';
import { html as svg, type Html } from '../../report/html.ts';
import { whisker } from './intervals.ts';
import { rangeOf, scale, ticks } from './scale.ts';
import { label, line, plot, PLOT_WIDTH, type Plot } from './svg.ts';

/** One part of the holdout in a forest plot. */
export interface ForestRow {
  /** Rows of one group follow each other under its name; empty for the whole. */
  group: string;
  name: string;
  /** Null where it was not measured. */
  interval: Interval | null;
  text: string;
  rows: string;
  /** Where a rule draws the line for this part. */
  limit: number | null;
}

const [LEFT, RIGHT, TEXT] = [170, 456, 468];
const ROW = 20;
const TOP = 24;

/** Intervals of many parts on one scale, with the line at which nothing changes. */
export function forestPlot(of: {
  name: string;
  title: string;
  description: string;
  /** Over the scale. */
  axis: string;
  /** Where a part is no different: 0 of a gain, or the figure of the whole. */
  reference: number | null;
  rows: readonly ForestRow[];
}): Plot {
  const { rows, reference } = of;
  const values = rows.flatMap(({ interval, limit }) => [
    ...(interval === null ? [] : [interval.estimate, interval.lower, interval.upper]),
    ...(limit === null ? [] : [limit]),
  ]);
  const x = scale(rangeOf([...values, ...(reference === null ? [] : [reference])]), [LEFT, RIGHT]);
  const drawn: Html[] = [];
  let y = TOP;
  rows.forEach(({ group, name, interval, text, rows: size, limit }, index) => {
    if (group !== (rows[index - 1]?.group ?? '')) {
      drawn.push(label(0, y + 16, group, { as: 'strong', space: 26 }));
      y += ROW;
    }
    const middle = y + ROW / 2;
    drawn.push(
      label(group === '' ? 0 : 12, middle + 4, name, { as: group === '' ? 'strong' : '', space: 24 }),
      limit === null ? svg`` : line([x(limit), y + 2], [x(limit), y + ROW - 2], 'limit'),
      interval === null
        ? label(TEXT, middle + 4, 'not measured', { as: 'dim' })
        : whisker('challenger', interval, { x, y: middle }),
      label(TEXT, middle + 4, text, { space: 36 }),
      label(PLOT_WIDTH, middle + 4, size, { as: 'dim end' }),
    );
    y += ROW;
  });
  const scaleLines = ticks(x.from, x.to, 6).map(
    (value) =>
      svg`${line([x(value), TOP], [x(value), y + 4], 'grid')}${label(x(value), y + 17, String(value).replace('-', '−'), { as: 'dim middle' })}`,
  );
  return plot({
    ...of,
    height: y + 24,
    body: [
      label(LEFT, 14, of.axis, { as: 'dim', space: 70 }),
      label(PLOT_WIDTH, 14, 'rows', { as: 'dim end' }),
      scaleLines,
      line([LEFT, y + 2], [RIGHT, y + 2], 'axis'),
      reference === null ? svg`` : line([x(reference), TOP], [x(reference), y + 2], 'reference'),
      drawn,
    ],
  });
}

import type { CalibrationBin } from '../../../policy/evaluation.ts';
import { count, decimal } from '../../../policy/figures.ts';
import { html as svg, type Html } from '../../report/html.ts';
import { legend, type Side } from './intervals.ts';
import { scale, ticks, type Scale } from './scale.ts';
import { at, box, label, line, marker, plot, type Plot } from './svg.ts';

const [LEFT, RIGHT, TOP, BOTTOM] = [56, 396, 44, 384];
/** The bars of bin sizes. */
const [SIZES_TOP, SIZES_BOTTOM] = [410, 450];
/** Scores that lie this much closer to nought than the largest are told apart on a root scale only. */
const SQUEEZED = 5;

/** Mean probability against share of positives, bin by bin; on the diagonal a model says what happens. */
export function calibrationPlot(of: {
  name: string;
  title: string;
  description: string;
  champion: string | null;
  bins: { challenger: readonly CalibrationBin[]; champion: readonly CalibrationBin[] | null };
}): Plot {
  const sides = { challenger: known(of.bins.challenger), champion: known(of.bins.champion ?? []) };
  const all = [...sides.challenger, ...sides.champion];
  const most = Math.max(...all.flatMap(({ predicted, observed }) => [predicted, observed]), 1e-6) * 1.05;
  const middle = all.map(({ predicted }) => predicted).sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? most;
  const root = middle * SQUEEZED < most;
  const bend = root ? Math.sqrt : (value: number): number => value;
  const [straightX, straightY] = [scale([0, bend(most)], [LEFT, RIGHT]), scale([0, bend(most)], [BOTTOM, TOP])];
  const x = Object.assign((value: number): number => straightX(bend(value)), { from: 0, to: most });
  const y = Object.assign((value: number): number => straightY(bend(value)), { from: 0, to: most });
  return plot({
    ...of,
    height: SIZES_BOTTOM + 26,
    body: [
      legend({ champion: of.champion, beside: root ? 'both axes on a square-root scale' : '' }),
      frame(x, y),
      line([x(0), y(0)], [x(most), y(most)], 'reference'),
      label(LEFT - 50, TOP - 10, 'share of positives', { as: 'dim' }),
      label((LEFT + RIGHT) / 2, SIZES_BOTTOM + 16, 'mean probability of the bin; bars: its rows', { as: 'dim middle' }),
      curve('champion', sides.champion, { x, y }),
      curve('challenger', sides.challenger, { x, y }),
      sizes(sides.challenger, x),
      sideTable(sides),
    ],
  });
}

function known(bins: readonly CalibrationBin[]): CalibrationBin[] {
  return bins.filter(({ predicted, observed }) => Number.isFinite(predicted) && Number.isFinite(observed));
}

function frame(x: Scale, y: Scale): Html {
  const about = ticks(0, x.to, 5);
  return svg`${about.map(
    (value) =>
      svg`${line([x(value), TOP], [x(value), BOTTOM], 'grid')}${line([LEFT, y(value)], [RIGHT, y(value)], 'grid')}${label(x(value), BOTTOM + 15, decimal(value), { as: 'dim middle' })}${label(LEFT - 6, y(value) + 4, decimal(value), { as: 'dim end' })}`,
  )}${line([LEFT, BOTTOM], [RIGHT, BOTTOM], 'axis')}${line([LEFT, TOP], [LEFT, BOTTOM], 'axis')}`;
}

function curve(side: Side, bins: readonly CalibrationBin[], { x, y }: { x: Scale; y: Scale }): Html {
  const points = bins.map(({ predicted, observed }) => `${at(x(predicted))},${at(y(observed))}`).join(' ');
  return svg`<polyline points="${points}" class="${side}" opacity="0.5"/>${bins.map(({ predicted, observed }) => marker(side, x(predicted), y(observed), 3.5))}`;
}

function sizes(bins: readonly CalibrationBin[], x: Scale): Html {
  const most = Math.max(...bins.map(({ rows }) => rows), 1);
  return svg`${bins.map(({ rows, predicted }) => {
    const height = (rows / most) * (SIZES_BOTTOM - SIZES_TOP);
    return box({
      ...{ x: x(predicted) - 2, y: SIZES_BOTTOM - height, width: 4, height, as: 'challenger area' },
      title: `${count(rows)} rows`,
    });
  })}${line([LEFT, SIZES_BOTTOM], [RIGHT, SIZES_BOTTOM], 'axis')}`;
}

/** To the right: where the largest bins of each model lie off the diagonal. */
function sideTable(sides: Record<Side, readonly CalibrationBin[]>): Html {
  const worst = (['challenger', 'champion'] as const).flatMap((side) => {
    const furthest = sides[side].toSorted((a, b) => off(b) - off(a))[0];
    return furthest === undefined ? [] : [{ side, ...furthest }];
  });
  return svg`${worst.map(
    ({ side, predicted, observed, rows }, index) =>
      svg`${marker(side, 430, 68 + index * 70)}${label(442, 72 + index * 70, 'furthest off the diagonal', { as: 'strong' })}${label(442, 90 + index * 70, `says ${decimal(predicted)}, and ${decimal(observed)} were positive`, { space: 46 })}${label(442, 106 + index * 70, `in a bin of ${count(rows)} rows`, { as: 'dim' })}`,
  )}`;
}

function off({ predicted, observed }: CalibrationBin): number {
  return Math.abs(predicted - observed);
}

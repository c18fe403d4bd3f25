import { percent } from '../../../policy/figures.ts';
import { html as svg, type Html } from '../../report/html.ts';
import { scale, timeTicks, type Scale } from './scale.ts';
import { at, box, label, line, plot, PLOT_WIDTH, type Plot } from './svg.ts';

const [LEFT, RIGHT] = [130, PLOT_WIDTH - 24];
const ROW = 26;
const TOP = 26;

/** A stretch of event time (fromMs, toMs] and what it is. */
export interface Stretch {
  what: 'train' | 'holdout' | 'history' | 'waiting' | 'tainted';
  fromMs: number;
  toMs: number;
  text: string;
}

export interface TimelineRow {
  name: string;
  stretches: readonly Stretch[];
}

const LOOKS: Record<Stretch['what'], { as: string; inset: number }> = {
  history: { as: 'hollow', inset: 9 },
  waiting: { as: 'waiting', inset: 9 },
  train: { as: 'challenger area', inset: 5 },
  holdout: { as: 'pale', inset: 5 },
  tainted: { as: 'alarm', inset: 1 },
};

/** Which rows each version was trained and measured on, by event time. */
export function dataTimeline(of: {
  name: string;
  title: string;
  description: string;
  rows: readonly TimelineRow[];
}): Plot {
  const stretches = of.rows.flatMap((row) => row.stretches);
  const ends = stretches.flatMap(({ fromMs, toMs }) => [fromMs, toMs]).filter((ms) => Number.isFinite(ms));
  const x = scale([Math.min(...ends), Math.max(...ends)], [LEFT, RIGHT]);
  const bottom = TOP + of.rows.length * ROW;
  const kinds = (Object.keys(LOOKS) as Stretch['what'][]).filter((what) => stretches.some((one) => one.what === what));
  return plot({
    ...of,
    height: bottom + 24,
    body: [
      kinds.map(
        (what, index) =>
          svg`${box({ x: LEFT + index * 118, y: 4, width: 16, height: 12, as: LOOKS[what].as })}${label(LEFT + 22 + index * 118, 14, WORDS[what], { as: 'dim' })}`,
      ),
      timeAxis(x, { top: TOP, bottom }),
      of.rows.map((row, index) => timelineRow(row, { x, y: TOP + index * ROW })),
    ],
  });
}

const WORDS: Record<Stretch['what'], string> = {
  history: 'history (replay)',
  waiting: 'no labels yet',
  train: 'trained on',
  holdout: 'holdout',
  tainted: 'tainted',
};

function timelineRow({ name, stretches }: TimelineRow, { x, y }: { x: Scale; y: number }): Html {
  return svg`${label(0, y + 17, name, { space: 20 })}${stretches.map(({ what, fromMs, toMs, text }) => {
    const { as, inset } = LOOKS[what];
    return box({
      ...{ x: x(fromMs), width: x(toMs) - x(fromMs), y: y + inset, height: ROW - 2 * inset, as, title: text },
    });
  })}`;
}

/** What a version was given, from one move of the route to the next; a share of 1. */
export interface RouteStretch {
  role: 'shadow' | 'canary' | 'stable' | 'holdback';
  share: number;
  fromMs: number;
  toMs: number;
  text: string;
}

const ROLE_LOOKS = { shadow: 'hollow', canary: 'pale', stable: 'challenger area', holdback: 'champion area' } as const;
const [SHARE_TOP, SHARE_BOTTOM] = [28, 148];

/** The share of traffic over time. */
export function routeTimeline(of: {
  name: string;
  title: string;
  description: string;
  stretches: readonly RouteStretch[];
  /** Said at the right end: that it goes on. */
  goesOn: string | null;
}): Plot {
  const { stretches, goesOn } = of;
  const first = Math.min(...stretches.map(({ fromMs }) => fromMs));
  const last = Math.max(...stretches.map(({ toMs }) => toMs));
  const x = scale([first, last], [48, RIGHT]);
  const y = scale([0, 1], [SHARE_BOTTOM, SHARE_TOP]);
  const roles = (Object.keys(ROLE_LOOKS) as RouteStretch['role'][]).filter((role) =>
    stretches.some((stretch) => stretch.role === role),
  );
  return plot({
    ...of,
    height: SHARE_BOTTOM + 22,
    body: [
      roles.map(
        (role, index) =>
          svg`${box({ x: 48 + index * 90, y: 4, width: 16, height: 12, as: ROLE_LOOKS[role] })}${label(70 + index * 90, 14, role, { as: 'dim' })}`,
      ),
      goesOn === null ? svg`` : label(PLOT_WIDTH - 12, 14, goesOn, { as: 'dim end', space: 60 }),
      [0, 0.5, 1].map(
        (share) =>
          svg`${line([48, y(share)], [RIGHT, y(share)], 'grid')}${label(42, y(share) + 4, percent(share), { as: 'dim end' })}`,
      ),
      timeAxis(x, { top: SHARE_TOP, bottom: SHARE_BOTTOM }),
      stretches.map(({ role, share, fromMs, toMs, text }) =>
        box({
          ...{ x: x(fromMs), width: x(toMs) - x(fromMs), y: y(share), height: SHARE_BOTTOM - y(share) },
          ...{ as: ROLE_LOOKS[role], title: text },
        }),
      ),
    ],
  });
}

function timeAxis(x: Scale, { top, bottom }: { top: number; bottom: number }): Html {
  return svg`${timeTicks(x.from, x.to, 8).map(
    ({ atMs, text }) =>
      svg`<line x1="${at(x(atMs))}" y1="${at(top)}" x2="${at(x(atMs))}" y2="${at(bottom + 4)}" class="grid"/>${label(x(atMs), bottom + 17, text, { as: 'dim middle' })}`,
  )}${line([x(x.from), bottom], [x(x.to), bottom], 'axis')}`;
}

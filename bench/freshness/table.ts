import type { Figures, Report } from './report.ts';

const NOTHING = '-';

/** For people: the strategies, their AUC and normalized entropy by day, and the goals. */
export function tableOf(report: Report, figures: Figures): string {
  return [
    [
      `${count(report.scoredRows)} of ${count(report.rows)} rows scored, ${count(report.scoredUsers)} users, ${percent(report.positiveShare)} positive.`,
      'Each block is scored before it is trained on; labels count as known when their block ends. Means over the seeds.',
      'Examples and seconds are those of a seed after the bootstrap; search: for rates and epochs.',
    ].join('\n'),
    strategiesTable(report),
    daysTable(report, 'AUC', 'auc'),
    daysTable(report, 'normalized entropy', 'normalizedEntropy'),
    goals(report, figures),
  ].join('\n\n');
}

function strategiesTable({ strategies, intervals, costs }: Report): string {
  return columns([
    ['', 'AUC', '95 % interval', 'minus full', 'NE', 'last 24 h', 'examples', 'search', 'seconds', 'search s'],
    ...Object.entries(strategies).map(([name, found]) => {
      const cost = costs[name];
      const [low, high] = intervals.auc[name] ?? [null, null];
      const [less, more] = intervals.minusFull[name] ?? [null, null];
      return [
        name,
        decimals(found.auc),
        `${decimals(low)} to ${decimals(high)}`,
        name === 'full@4h' ? '' : `${signed(less)} to ${signed(more)}`,
        decimals(found.normalizedEntropy),
        decimals(found.aucLastDay),
        ...(cost === undefined
          ? [NOTHING, NOTHING, NOTHING, NOTHING]
          : [count(cost.examples), count(cost.tuningExamples), cost.seconds.toFixed(1), cost.tuningSeconds.toFixed(1)]),
      ];
    }),
  ]);
}

function daysTable({ days, strategies }: Report, title: string, measure: 'auc' | 'normalizedEntropy'): string {
  return columns([
    [`${title} by day`, ...days.map(({ day }) => day)],
    ...Object.keys(strategies).map((name) => [name, ...days.map((day) => decimals(day[measure][name] ?? null))]),
    ['rows', ...days.map(({ rows }) => count(rows))],
  ]);
}

function goals({ intervals }: Report, figures: Figures): string {
  const { slope, interval } = intervals.trendPerDay;
  const high = interval?.[1] ?? null;
  const goal = (
    what: string,
    value: number | null,
    { text, met, shown = signed }: { text: string; met: (value: number) => boolean; shown?: (value: number) => string },
  ): string[] => [
    what,
    value === null ? 'not measured' : shown(value),
    text,
    value === null ? '' : met(value) ? 'met' : 'missed',
  ];
  return columns([
    ['goals', 'found', 'wanted', ''],
    goal('incremental minus full, lower 95 % bound', figures.incrementalMinusFullLcb95, {
      text: '>= -0.0015',
      met: (value) => value >= -0.0015,
    }),
    goal('incremental minus frozen, last 24 h, lower 95 % bound', figures.incrementalMinusFrozenLastDayLcb95, {
      text: '> +0.0080',
      met: (value) => value > 0.008,
    }),
    goal('incremental minus floor, lower 95 % bound', figures.incrementalMinusFloorLcb95, {
      text: '> 0',
      met: (value) => value > 0,
    }),
    goal("incremental's share of full's examples", figures.computeShareIncremental, {
      text: '<= 5 %',
      met: (value) => value <= 0.05,
      shown: percent,
    }),
    goal(`trend against full a day, ${signed(slope)}; upper 95 % bound`, high, {
      text: '>= 0',
      met: (value) => value >= 0,
    }),
    ['share of the gain of 1 h that 4 h keeps', percentOrNothing(figures.gainKeptAt4h), 'about 95 %', ''],
  ]);
}

/** Left-aligned names, right-aligned values. */
function columns(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  return rows
    .map((row) =>
      row
        .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function decimals(value: number | null): string {
  return value === null ? NOTHING : value.toFixed(4);
}

function signed(value: number | null): string {
  return value === null ? NOTHING : `${value < 0 ? '-' : '+'}${Math.abs(value).toFixed(4)}`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function percentOrNothing(share: number | null): string {
  return share === null ? 'not measured' : percent(share);
}

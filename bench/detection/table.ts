import type { Cell, MonitorFigures } from './cells.ts';
import type { DetectionFigures } from './figures.ts';

const NOISE = { clean: 'clean', lognormal: '20 % lognormal', uniform: '+-20 % uniform' } as const;

/** The figures that have goals, and the cells. */
export function detectionTable(figures: DetectionFigures): string {
  const { cells, ...named } = figures;
  const lines = Object.entries(named).map(([name, value]) =>
    [name.padEnd(34), name === 'maxFalseRollback' ? rate(Number(value)) : String(value)].join(''),
  );
  return [lines.join('\n'), falseTable(cells), timeTable(cells)].join('\n\n');
}

function falseTable(cells: readonly Cell[]): string {
  const rows = cells
    .filter(({ scenario }) => scenario.effect === 1)
    .map((cell) => {
      const { consecutive, sequential, allMetrics, backstop } = cell.monitors;
      return [
        ...trafficOf(cell),
        cell.scenario.name,
        ...[consecutive, sequential, allMetrics, backstop].map(({ falseRate }) => rate(falseRate)),
        cell.dispersion.map((value) => value.toFixed(2)).join(' / '),
      ];
    });
  const head = ['base', 'canary/min', 'noise', 'history', 'course'];
  const monitors = ['consecutive', 'sequential', 'of all metrics', 'backstop alone', 'dispersion min / mean / max'];
  return markdown([...head, ...monitors], rows);
}

function timeTable(cells: readonly Cell[]): string {
  const rows = cells
    .filter(({ scenario }) => scenario.effect !== 1)
    .map((cell) => {
      const { consecutive, sequential, allMetrics } = cell.monitors;
      return [...trafficOf(cell), cell.scenario.name, ...[consecutive, sequential, allMetrics].map(times)];
    });
  const head = ['base', 'canary/min', 'noise', 'history', 'worse'];
  return markdown([...head, 'consecutive', 'sequential', 'of all metrics'], rows);
}

function trafficOf({ traffic, ramps }: Cell): string[] {
  const { base, canaryPerMinute, noise } = traffic;
  const history = ramps === 0 ? 'none' : `${String(ramps)} ramps`;
  return [`${String(base * 100)} %`, canaryPerMinute.toLocaleString('en-US'), NOISE[noise], history];
}

function rate(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

function times({ medianSeconds, p90Seconds }: MonitorFigures): string {
  const text = (seconds: number | null): string => (seconds === null ? 'not found' : String(seconds));
  return `${text(medianSeconds)} / ${text(p90Seconds)}`;
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}

/** docs/detection.md. */
export function detectionDocument(figures: DetectionFigures, { quick }: { quick: boolean }): string {
  const { cells } = figures;
  const size = quick
    ? '**A small run** (`--quick`): 2,000 windows a cell in which nothing is worse, 200 in which something is.'
    : '20,000 windows a cell in which nothing is worse, 2,000 in which something is.';
  return `# How soon a worse canary is found

Written by \`npm run bench -- detection --doc docs/detection.md\`. ${size}

A window is 30 minutes, a ramp of five steps of six minutes, with the same traffic in each: the canary's requests as named,
nine times as many of stable. A share of all requests ends badly; the canary's does so two or three times as often from the
onset on. *Noise*: the true rate of each arm is multiplied, for itself, by a factor of mean 1 that is drawn anew every 60 s
(lognormal with a standard deviation of 20 %, or uniform in 0.8 to 1.2), at a moment of the minute that differs from window to
window. *Outage*: for ten minutes both arms' rates are ten times as high. *History*: what the dispersion is estimated from, the
holdback (5 %) beside stable in so many earlier ramps; each cell's windows are shared among 20 lines with a history each.

*consecutive*: a check every 60 s of all since the step began, z above 2.33 three times in a row. *sequential*: the evidence is
looked at every 10 s with an alpha of 0.9 % a window, and three checks in a row above a stricter z are the backstop; *of all
metrics*: the same where this metric has a fifth of the alpha. Times are from the onset to the end of the look with the alarm.
Quality adds the feedback delay: buckets younger than it are not read.

## What the monitor does

\`health.mode: sequential\` (the default is \`consecutive\`). Each bucket of the health sums is a look. For each metric a mixture of
likelihood ratios over the moments at which damage may have begun weighs "worse by this factor" against "not worse" (an
e-process: by Ville's inequality it reaches 1 / alpha in at most alpha of the windows without damage, however often one looks);
their mean by \`health.sequential.weights\` is the evidence. Rates are compared given both arms' events together, so that what
hits both says nothing, and a look says no more than one and a half times its usual number of events would.

Two arms of one version differ by more than chance. By how much is estimated for each metric, once a cycle, from the holdback
beside stable in the ramps of the last week, whatever became of them: same version, same time, other users. It is taken to be
drawn anew about once a minute. With little history \`health.sequential.dispersion\` is what is believed, so that a line's first
ramps find damage a little later. The bound on false alarms is as good as this estimate.

It does not hear: damage that stays well below the factor looked for (2.5 for errors and slow requests, 0.7 for clicks, a
quarter for log loss) but by the backstop; clicks younger than the feedback delay; dwell, unless \`health.quality\` names it.

## False rollbacks

Share of windows in which nothing was worse and that were rolled back (goal: at most 1 % for *sequential*).

${falseTable(cells)}

## Seconds to the alarm, median / 90th percentile

${timeTable(cells)}
`;
}

import type { ComparedMetric, Evaluation, SliceFigures } from '../../policy/evaluation.ts';
import { count } from '../../policy/figures.ts';
import type { VersionCard } from './card.ts';
import { paragraph, table, type Block, type Inline, type Section } from './document.ts';
import { gainMetric } from './figures-section.ts';
import { forestPlot, type ForestRow } from './plots/forest.ts';
import { figure, interval, metricName, sentence, versionName } from './wording.ts';

/** A plot of more parts is one that nobody reads; the table has them all. */
const PARTS_DRAWN = 60;

/** How it does on the parts of the traffic, each compared with the champion on the same rows. */
export function slicesSection(card: VersionCard): Section[] {
  if (card.metrics.evaluation.kind !== 'measured') return [];
  const { evaluation } = card.metrics.evaluation;
  const { slices, notes } = evaluation;
  if (slices.length === 0 && notes.length === 0) return [];
  const metric = gainMetric(card);
  return [
    {
      title: 'Slices',
      blocks: [
        ...(slices.length === 0 ? [] : sliceBlocks(card, evaluation, metric)),
        ...gapTable(evaluation),
        ...notes.map(({ message }) => paragraph(sentence(message), 'warn')),
      ],
    },
  ];
}

function sliceBlocks(card: VersionCard, evaluation: Evaluation, metric: ComparedMetric): Block[] {
  const { slices, overall, champion, k } = evaluation;
  const name = metricName(metric, k);
  const compared = overall.gain !== null && champion !== null;
  const limits = sliceLimits(card, metric);
  const drawn = mostRows(slices);
  const whole: ForestRow = {
    group: '',
    name: 'all rows',
    interval: (compared ? overall.gain : null)?.[metric] ?? overall.challenger[metric],
    text: interval((compared ? overall.gain : null)?.[metric] ?? overall.challenger[metric], { sign: compared }),
    rows: count(overall.rows),
    limit: compared && card.config !== null ? -card.config.gate.tolerance : null,
  };
  const title = compared ? `Gain in ${name} over ${versionName(champion)}, by slice` : `${name} by slice`;
  const beside =
    drawn.length < slices.length
      ? ` The ${String(drawn.length)} with the most rows of ${String(slices.length)} parts.`
      : '';
  return [
    {
      kind: 'figure',
      plot: forestPlot({
        name: 'slices',
        title,
        description: `Estimate and one-sided 95 % bounds for each part of the holdout; ${compared ? 'dotted: no difference, red: minus the tolerance of a rule' : 'dotted: all rows'}.${beside} The table below has the numbers.`,
        axis: compared ? `gain in ${name}: to the right this version is better; red: tolerance` : name,
        reference: compared ? 0 : overall.challenger[metric].estimate,
        rows: [
          whole,
          ...drawn.map((part) =>
            forestRow(part, { metric, compared, limit: compared ? (limits.get(part.slice) ?? null) : null }),
          ),
        ],
      }),
    },
    ...table(
      `Parts of the holdout, in ${name}`,
      ['part', '#rows', '#users', `#${name}`, ...(compared ? ['#gain'] : []), '#calibration'],
      [...slices.map((part) => sliceRow(part, { metric, compared }))],
    ),
  ];
}

function mostRows(slices: readonly SliceFigures[]): SliceFigures[] {
  if (slices.length <= PARTS_DRAWN) return [...slices];
  const kept = new Set(slices.toSorted((a, b) => b.rows - a.rows).slice(0, PARTS_DRAWN));
  return slices.filter((part) => kept.has(part));
}

/** By slice: where the gate's rule on it draws the line. */
function sliceLimits({ config }: VersionCard, metric: ComparedMetric): Map<string, number> {
  const rules = config?.gate.slices.filter((rule) => rule.metric === metric) ?? [];
  return new Map(rules.map(({ slice, tolerance }) => [slice, -tolerance]));
}

function forestRow(
  { slice, value, figures, rows }: SliceFigures,
  { metric, compared, limit }: { metric: ComparedMetric; compared: boolean; limit: number | null },
): ForestRow {
  const found = figures === null ? null : compared ? (figures.gain?.[metric] ?? null) : figures.challenger[metric];
  const known = found !== null && Number.isFinite(found.estimate) ? found : null;
  const text = known === null ? '' : interval(known, { sign: compared });
  return { group: slice, name: value, interval: known, text, rows: count(rows), limit: known === null ? null : limit };
}

function sliceRow(
  { slice, value, figures, rows, users }: SliceFigures,
  { metric, compared }: { metric: ComparedMetric; compared: boolean },
): Inline[] {
  const name = `${slice}: ${value}`;
  const population = [count(rows), count(users)];
  if (figures === null) return [name, ...population, 'too few rows', ...(compared ? [''] : []), ''];
  return [
    name,
    ...population,
    interval(figures.challenger[metric]),
    ...(compared ? [figures.gain === null ? '' : interval(figures.gain[metric], { sign: true })] : []),
    figure(figures.challenger.calibration.estimate),
  ];
}

function gapTable({ gaps, k }: Evaluation): Block[] {
  return table(
    'Between the part on which a model does best and the one on which it does worst',
    ['slice', 'metric', 'best', 'worst', '#gap', "#champion's gap"],
    gaps.map(({ slice, metric, best, worst, gap, championGap }) => [
      ...[slice, metricName(metric, k), best, worst, interval(gap), championGap === null ? '' : interval(championGap)],
    ]),
  );
}

import {
  COMPARED_METRICS,
  EVALUATION_METRICS,
  type CalibrationBin,
  type ComparedMetric,
  type Evaluation,
} from '../../policy/evaluation.ts';
import { count, decimal, difference, percent } from '../../policy/figures.ts';
import type { VersionCard } from './card.ts';
import { paragraph, table, type Block, type Inline, type Section } from './document.ts';
import { calibrationPlot } from './plots/calibration.ts';
import { intervalPlot, legend, type IntervalRow } from './plots/intervals.ts';
import { better, bytes, figure, interval, metricName, versionName } from './wording.ts';

const BOUNDS = 'Bounds are one-sided 95 % bounds each, from a bootstrap over users.';

/** The metric that the gate compared by; AUC where the config can not be read. */
export function gainMetric({ config }: VersionCard): ComparedMetric {
  return config?.gate.metric ?? 'auc';
}

/** Rule by rule: what let it through or kept it out, and what was waited for. */
export function gateSection({ metrics: { gate, extensions } }: VersionCard): Section[] {
  const rules = (gate?.rules ?? []).map(({ rule, kind, reason }): Inline[] => [
    { code: rule },
    KINDS[kind] ?? kind,
    reason.message,
  ]);
  const tries = extensions.map(({ attempt, used, rows, snapshotId, message }): Inline[] => [
    ...[String(attempt), used ? 'yes' : 'no', count(rows), message],
    snapshotId === null ? '' : { code: snapshotId.slice(0, 12) },
  ]);
  const blocks = [
    ...table('Rules of the gate and what each said', ['rule', 'verdict', 'why'], rules),
    ...table(
      'The rows did not decide, and more were waited for',
      ['try', 'used', '#rows', 'what came of it', 'snapshot'],
      tries,
    ),
  ];
  return blocks.length === 0 ? [] : [{ title: 'Gate', blocks }];
}

const KINDS: Record<string, Inline> = {
  pass: 'passes',
  reject: { strong: 'rejects' },
  inconclusive: { strong: 'does not decide' },
  hold: { strong: 'holds' },
  notApplicable: 'does not apply',
};

/** What was measured on the holdout. */
export function figuresSection(card: VersionCard): Section[] {
  const recorded = card.metrics.evaluation;
  if (card.version.version === 0) return [];
  if (recorded.kind === 'none')
    return [{ title: 'Figures', blocks: [paragraph('No evaluation is on record.', 'warn')] }];
  if (recorded.kind === 'older') return [{ title: 'Figures', blocks: olderFigures(recorded.figures) }];
  const { evaluation } = recorded;
  return [
    {
      title: 'Figures',
      blocks: [
        paragraph(population(evaluation)),
        metricsFigure(evaluation),
        ...table(
          'Metrics of this version and of the champion, with bounds',
          metricHead(evaluation),
          metricRows(evaluation),
        ),
        ...gainFigure(card, evaluation),
      ],
    },
    { title: 'Calibration', blocks: calibration(evaluation) },
    { title: 'Beyond the holdout', blocks: beyond(card, evaluation) },
  ];
}

function population({ overall, champion, replicates, seed }: Evaluation): string {
  const { rows, positives, users, groups, groupsWithoutPositive } = overall;
  const against =
    champion === null
      ? 'There was no champion to compare with.'
      : `The champion was ${versionName(champion)}, scored anew on the same rows.`;
  return `On the holdout: ${count(rows)} rows, ${count(positives)} of them positive (${percent(positives / rows)}), of ${count(users)} users in ${count(groups)} requests (${count(groupsWithoutPositive)} without a positive: ranking metrics leave them out). ${against} ${BOUNDS} ${count(replicates)} replicates, seed ${String(seed)}.`;
}

function metricHead({ champion }: Evaluation): string[] {
  return ['metric', '#this version', ...(champion === null ? [] : [`#${versionName(champion)}`, '#gain']), 'reading'];
}

function metricRows({ overall, champion, k }: Evaluation): Inline[][] {
  return EVALUATION_METRICS.map((metric) => {
    const gain = (COMPARED_METRICS as readonly string[]).includes(metric)
      ? overall.gain?.[metric as ComparedMetric]
      : undefined;
    const was = overall.champion?.[metric];
    return [
      metricName(metric, k),
      interval(overall.challenger[metric]),
      ...(champion === null
        ? []
        : [was === undefined ? '' : interval(was), gain === undefined ? '' : interval(gain, { sign: true })]),
      better(metric),
    ];
  });
}

function metricsFigure({ overall, champion, k }: Evaluation): Block {
  const rows = EVALUATION_METRICS.map((metric): IntervalRow => {
    const [challenger, was] = [overall.challenger[metric], overall.champion?.[metric]];
    return {
      name: metricName(metric, k),
      note: better(metric),
      marks: [
        { side: 'challenger', interval: challenger, text: interval(challenger) },
        ...(was === undefined ? [] : [{ side: 'champion' as const, interval: was, text: interval(was) }]),
      ],
      references: metric === 'calibration' ? [{ at: 1, limit: false }] : [],
    };
  });
  return {
    kind: 'figure',
    plot: intervalPlot({
      name: 'metrics',
      title: 'Metrics with their bounds',
      description: `Estimate and one-sided 95 % bounds of ${String(rows.length)} metrics of this version${champion === null ? '' : ` and of the champion, ${versionName(champion)}`}, each on a scale of its own. The table below has the numbers.`,
      rows,
      legend: legend({
        champion: champion === null ? null : `champion, ${versionName(champion)}`,
        beside: 'estimate (95 % bounds)',
      }),
    }),
  };
}

/** Gains by metric, with the line that a rule of the gate draws. */
function gainFigure({ config }: VersionCard, { overall: { gain }, champion, k }: Evaluation): Block[] {
  if (gain === null || champion === null) return [];
  const limits = new Map<string, number>();
  for (const { metric, tolerance } of [...(config?.gate.notWorse ?? []), ...(config === null ? [] : [config.gate])])
    limits.set(metric, tolerance);
  const rows = COMPARED_METRICS.map((metric): IntervalRow => {
    const limit = limits.get(metric);
    return {
      name: metricName(metric, k),
      note: limit === undefined ? 'no tolerance set' : `tolerance ${decimal(limit)}`,
      marks: [{ side: 'challenger', interval: gain[metric], text: interval(gain[metric], { sign: true }) }],
      references: [{ at: 0, limit: false }, ...(limit === undefined ? [] : [{ at: -limit, limit: true }])],
    };
  });
  return [
    {
      kind: 'figure',
      plot: intervalPlot({
        name: 'gain',
        title: `Gain over the champion, ${versionName(champion)}`,
        description:
          'This version minus the champion by metric, the sign turned so that more is better, with one-sided 95 % bounds; dotted: no difference, dashed red: minus the tolerance of the gate. The gain column of the table above has the numbers.',
        rows,
        legend: legend({ champion: null, beside: 'gain (95 % bounds); to the right is better' }),
      }),
    },
  ];
}

function calibration({ calibrationCurve, champion, overall }: Evaluation): Block[] {
  const { challenger, champion: was } = calibrationCurve;
  if (challenger.length === 0) return [paragraph('No calibration curve could be drawn.', 'warn')];
  const ratio = overall.challenger.calibration;
  const name = champion === null ? null : `champion, ${versionName(champion)}`;
  return [
    paragraph(
      `Predicted over observed: ${interval(ratio)}; mean distance of a bin from the diagonal: ${interval(overall.challenger.calibrationError)}.`,
    ),
    {
      kind: 'figure',
      plot: calibrationPlot({
        name: 'calibration',
        title: 'Calibration curve',
        description: `Mean probability against share of positives in ${String(challenger.length)} bins of rows with neighbouring scores; on the dotted diagonal a model says what happens. The table below has the bins.`,
        champion: name,
        bins: calibrationCurve,
      }),
    },
    {
      kind: 'details',
      summary: 'The bins in numbers',
      blocks: [
        ...table(
          'Bins of this version',
          ['bin', '#rows', '#mean probability', '#share of positives'],
          binRows(challenger),
        ),
        ...(was === null
          ? []
          : table(
              `Bins of the champion${champion === null ? '' : `, ${versionName(champion)}`}`,
              ['bin', '#rows', '#mean probability', '#share of positives'],
              binRows(was),
            )),
      ],
    },
  ];
}

function binRows(bins: readonly CalibrationBin[]): Inline[][] {
  return bins.map(({ rows, predicted, observed }, index) => [
    String(index + 1),
    count(rows),
    figure(predicted),
    figure(observed),
  ]);
}

/** Latency, size, forgetting, and whether what serves is what was trained. */
function beyond({ metrics: { parity } }: VersionCard, evaluation: Evaluation): Block[] {
  const { latency, modelBytes, championBytes, historical, champion, maxScoreChange } = evaluation;
  const ms = ({ p50Ms, p99Ms }: { p50Ms: number; p99Ms: number }): string => `${figure(p50Ms)} / ${figure(p99Ms)} ms`;
  const was = champion === null ? [] : [`#${versionName(champion)}`];
  return [
    ...table(
      'Time of scoring one request, median / 99 % quantile, on the machine that evaluated',
      ['candidates', '#this version', ...was],
      latency.map((timed) => [
        count(timed.candidates),
        ms(timed.challenger),
        ...(champion === null ? [] : [timed.champion === null ? '' : ms(timed.champion)]),
      ]),
    ),
    ...historicalTable(historical, champion),
    {
      kind: 'facts',
      facts: [
        [
          'model.onnx',
          `${bytes(modelBytes)}${championBytes === null ? '' : `; the champion's ${bytes(championBytes)}`}`,
        ],
        ...(maxScoreChange === null
          ? []
          : [['scores', `differ from the champion's by at most ${decimal(maxScoreChange)}`] as const]),
        [
          'parity',
          parity?.maxDelta == null
            ? 'not on record: nobody knows that the served graph says what the trainer says'
            : `model.onnx and the trainer differ by at most ${difference(parity.maxDelta)} on ${count(parity.rows)} rows`,
        ],
      ],
    },
  ];
}

function historicalTable(historical: Evaluation['historical'], champion: number | null): Block[] {
  if (historical === null) return [];
  const { challenger, champion: was, rows } = historical;
  return table(
    `On the fixed historical holdout, ${count(rows)} rows: what a model knew and should still know`,
    ['metric', '#this version', ...(was === null || champion === null ? [] : [`#${versionName(champion)}`])],
    (['auc', 'logLoss'] as const).map((metric) => [
      metricName(metric, 0),
      figure(challenger[metric]),
      ...(was === null || champion === null ? [] : [figure(was[metric])]),
    ]),
  );
}

function olderFigures(figures: Extract<VersionCard['metrics']['evaluation'], { kind: 'older' }>['figures']): Block[] {
  const told = paragraph(
    'This version was evaluated by an older build: what it recorded is below, slices, ranking metrics and curves are not on record.',
    'warn',
  );
  if (figures === null)
    return [
      paragraph(
        'This version was evaluated by another build, whose figures this one can not read; they are in the database as they were.',
        'warn',
      ),
    ];
  const { challengerMetrics, championMetrics, gain, rows, positives, users, champion } = figures;
  return [
    told,
    paragraph(
      `On the holdout: ${count(rows)} rows, ${count(positives)} of them positive, of ${count(users)} users.${gain === null ? '' : ` Gain in the gate's metric: ${interval(gain, { sign: true })}.`}`,
    ),
    ...table(
      'Metrics by an older build, with bounds',
      [
        'metric',
        '#this version',
        ...(championMetrics === null ? [] : [`#${champion === null ? 'champion' : versionName(champion)}`]),
      ],
      Object.entries(challengerMetrics).map(([metric, found]) => {
        const was = championMetrics?.[metric];
        return [metric, interval(found), ...(championMetrics === null ? [] : [was === undefined ? '' : interval(was)])];
      }),
    ),
  ];
}

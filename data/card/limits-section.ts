import { formatDuration } from '../../config/duration.ts';
import { EVALUATION_METRICS, type Evaluation } from '../../policy/evaluation.ts';
import { count, percent } from '../../policy/figures.ts';
import { forgettingNotes } from '../../policy/forgetting.ts';
import type { VersionCard } from './card.ts';
import { paragraph, type Block, type Section } from './document.ts';
import { metricName, sentence, versionName } from './wording.ts';

/** What it is for, as far as the config says so. */
export function useSection({ config, version, data }: VersionCard): Section[] {
  if (version.version === 0) return [];
  if (config === null)
    return [
      {
        title: 'Intended use',
        blocks: [paragraph('The config it was trained with can not be read by this build.', 'warn')],
      },
    ];
  const { label, features, exploration } = config;
  const positive = label.event === 'click' ? 'a click' : `a dwell of ${formatDuration(label.minDwell)} or longer`;
  const from = (part: 'candidate' | 'user' | 'context'): string =>
    features
      .filter((feature) => feature.from === part)
      .map(({ name }) => name)
      .join(', ') || 'nothing';
  const where =
    data.kind === 'known'
      ? ` It knows the traffic of ${data.manifest.source.kind}: ${data.manifest.source.location}.`
      : '';
  return [
    {
      title: 'Intended use',
      blocks: [
        paragraph(
          `Ranks the candidates of a request to the line ${version.line} by the probability of ${positive}. Position is an input of training and a constant when it serves: scores are comparable within a request.${where} Its scores say nothing of surfaces or populations that the line does not log.`,
        ),
        {
          kind: 'facts',
          facts: [
            ['of a candidate', from('candidate')],
            ['of the user', from('user')],
            ['of the context', from('context')],
            [
              'exploration',
              exploration.share === 0
                ? 'none: all logged traffic was ranked by a served version'
                : `${percent(exploration.share)} of the traffic`,
            ],
          ],
        },
      ],
    },
  ];
}

/** What was not measured, and what to keep in mind. */
export function limitsSection(card: VersionCard): Section[] {
  if (card.version.version === 0) return [];
  const items = [...unmeasured(card), ...unverified(card), ...standing(card)];
  const list: Block = { kind: 'list', items };
  return [{ title: 'Limits', blocks: [list] }];
}

function unmeasured(card: VersionCard): string[] {
  const recorded = card.metrics.evaluation;
  if (recorded.kind === 'none') return ['Nothing was measured: no evaluation is on record.'];
  if (recorded.kind === 'older')
    return ['Evaluated by an older build: slices, ranking metrics, calibration curve and latency are not on record.'];
  const { evaluation } = recorded;
  return [
    ...(evaluation.champion === null
      ? [
          'There was no champion: that it is better than what served before was not measured, only absolute figures were.',
        ]
      : []),
    ...unknownMetrics(evaluation),
    ...smallSlices(evaluation),
    ...evaluation.notes.map(({ code, message }) =>
      sentence(code === 'evaluation.sampled' ? message : `A slice could not be made: ${message}`),
    ),
    ...forgetting(card, evaluation),
    ...(evaluation.championMissing.length === 0
      ? []
      : [
          `The champion was scored without features that the holdout lacks (${evaluation.championMissing.join(', ')}): the comparison favours this version.`,
        ]),
  ];
}

function unknownMetrics({ overall, k }: Evaluation): string[] {
  const unknown = EVALUATION_METRICS.filter((metric) => !Number.isFinite(overall.challenger[metric].estimate));
  return unknown.length === 0
    ? []
    : [`Could not be computed: ${unknown.map((metric) => metricName(metric, k)).join(', ')}.`];
}

function smallSlices({ slices }: Evaluation): string[] {
  const small = slices.filter(({ figures }) => figures === null);
  if (small.length === 0) return [];
  const named = small.slice(0, 20).map(({ slice, value, rows }) => `${slice} ${value} (${count(rows)} rows)`);
  return [
    `Too small to be measured: ${named.join(', ')}${small.length > named.length ? ` and ${String(small.length - named.length)} more` : ''}.`,
  ];
}

function forgetting({ config }: VersionCard, evaluation: Evaluation): string[] {
  const { historical, champion } = evaluation;
  if (historical === null) return ['The line has no historical holdout yet: what it forgot was not measured.'];
  if (historical.champion === null)
    return champion === null
      ? []
      : ['The champion has no figures on the historical holdout: what it forgot can not be told.'];
  return config === null ? [] : forgettingNotes(evaluation, config.gate).map((note) => sentence(note));
}

function unverified({ data, config, metrics, contamination, version }: VersionCard): string[] {
  const joined =
    config?.features
      .filter((feature) => feature.kind === 'numeric' && feature.joined !== undefined)
      .map(({ name }) => name) ?? [];
  const results = data.kind === 'known' ? (data.report?.results ?? []) : [];
  const codes = (status: string): string =>
    results
      .filter((result) => result.status === status)
      .map(({ check }) => check)
      .join(', ');
  const [silenced, warned, notApplicable] = [codes('silenced'), codes('warn'), codes('notApplicable')];
  return [
    ...(joined.length === 0
      ? []
      : [`Joined after the fact, not known to be the same when served: ${joined.join(', ')}.`]),
    ...(silenced === '' ? [] : [`Checks that were silenced and would have spoken: ${silenced}.`]),
    ...(warned === '' ? [] : [`Checks of the data that warned: ${warned}.`]),
    ...(notApplicable === '' ? [] : [`Checks that had nothing to compare with: ${notApplicable}.`]),
    ...(metrics.parity?.maxDelta == null ? ['That model.onnx says what the trainer says was not recorded.'] : []),
    ...(contamination === null
      ? []
      : [
          `It carries data that was found bad later: ${contamination.window.reason}. Figures of ${versionName(version.version)} include it.`,
        ]),
    ...(data.kind === 'known'
      ? labelLimits(data.manifest.counts.proxyLabelled, data.manifest.label.maturityFrom)
      : ['Its snapshot can not be read: data and checks are not shown.']),
  ];
}

function labelLimits(proxyLabelled: number, maturityFrom: string): string[] {
  return [
    ...(proxyLabelled === 0 ? [] : [`${count(proxyLabelled)} rows have an early feedback for a label.`]),
    ...(maturityFrom === 'tooFewDelays'
      ? ['Too few label delays are known: that labels are complete is taken from the config.']
      : []),
  ];
}

/** True of every version. */
function standing({ metrics: { evaluation } }: VersionCard): string[] {
  return [
    'The holdout is logged traffic: served versions chose what was shown, so offline figures say less about what they never showed.',
    ...(evaluation.kind === 'measured'
      ? ['Latency is of the machine that evaluated, without network and queues.']
      : []),
    'Bounds cover the chance of which users came, not that the traffic of tomorrow differs.',
  ];
}

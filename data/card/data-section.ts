import { describeContamination } from '../../policy/contamination.ts';
import { count, percent } from '../../policy/figures.ts';
import type { CheckResult } from '../checks/check.ts';
import { moment, span } from '../checks/wording.ts';
import type { SnapshotManifest } from '../snapshot-manifest.ts';
import type { Ancestor, CardData, CardLinks, VersionCard } from './card.ts';
import { paragraph, table, type Block, type Inline, type Section } from './document.ts';
import { dataTimeline, type Stretch, type TimelineRow } from './plots/timelines.ts';
import { versionLink } from './summary.ts';
import { sentence, statusName, stretch, versionName, when } from './wording.ts';

type KnownData = Extract<CardData, { kind: 'known' }>;

/** Parents in the picture; the table has all. */
const PARENTS_DRAWN = 7;
const HISTORY_WORDS = {
  sample: 'a sample of history, against forgetting',
  all: 'all history within snapshot.maxWindow',
} as const;

/** What it was trained and measured on. */
export function dataSection(card: VersionCard, links: CardLinks): Section[] {
  const { data } = card;
  if (data.kind === 'none') return [];
  if (data.kind === 'unreadable')
    return [
      {
        title: 'Data',
        blocks: [
          paragraph(sentence(data.why), 'warn'),
          { kind: 'facts', facts: [['snapshot', { code: data.snapshotId }]] },
        ],
      },
    ];
  return [
    {
      title: 'Data',
      blocks: [
        ...taintBlocks(card),
        { kind: 'facts', facts: dataFacts(data, links) },
        ...table('Rows by part', ['part', '#rows', 'what they are'], partRows(data.manifest)),
        ...timeline(card, data),
        ...checks(data),
        {
          kind: 'details',
          summary: `The ${String(data.manifest.features.length)} features`,
          blocks: features(data.manifest),
        },
      ],
    },
  ];
}

function taintBlocks({ taints }: VersionCard): Block[] {
  return taints.map(({ who, at, reason, removedAt, removedBy, removedReason }) =>
    removedAt === null
      ? paragraph([{ strong: 'This snapshot is tainted' }, `, since ${when(at)} by ${who}: ${sentence(reason)}`], 'bad')
      : paragraph(
          `The snapshot was tainted from ${when(at)} (${who}: ${reason}) to ${when(removedAt)} (${removedBy ?? 'unknown'}: ${removedReason ?? ''}).`,
          'quiet',
        ),
  );
}

function dataFacts({ snapshotId, manifest, report }: KnownData, links: CardLinks): [string, Inline][] {
  const { counts, label, maturityMs, source } = manifest;
  const fromMs = firstMs(manifest);
  const fresh = counts.train + counts.holdout;
  const from = {
    measured: 'measured',
    config: 'as configured',
    tooFewDelays: 'as configured: too few delays are known',
  }[label.maturityFrom];
  const verdict =
    report === null
      ? 'have not run'
      : report.verdict === 'pass'
        ? `passed (${String(report.results.length)})`
        : 'blocked it';
  const address = links.snapshot?.(snapshotId);
  return [
    [
      'snapshot',
      address === undefined
        ? { code: snapshotId.slice(0, 12) }
        : [{ code: snapshotId.slice(0, 12) }, ' ', { href: address, text: 'report on the data' }],
    ],
    ['trained on', `${stretch(fromMs, manifest.splitMs)} (event time)`],
    ['holdout', `${stretch(manifest.splitMs, manifest.cutoffMs)}: newer than what it was trained on`],
    ['taken at', `${moment(manifest.eventNowMs)} (event time)`],
    [
      'label rate',
      fresh === 0
        ? 'no rows'
        : `${percent(counts.positives / fresh)}: ${count(counts.positives)} of ${count(fresh)} fresh rows are positive`,
    ],
    ['labels', `count as complete after ${span(maturityMs)} (${from})`],
    ['source', `${source.kind}: ${source.location}`],
    ['checks', verdict],
  ];
}

function partRows({ counts, replay, historical }: SnapshotManifest): Inline[][] {
  const rows: [string, number, string][] = [
    ['train', counts.train, `of them ${count(counts.lateIncluded)} late, ${count(counts.corrected)} corrected`],
    ['replay', counts.replay, HISTORY_WORDS[replay ?? 'sample']],
    ['holdout', counts.holdout, 'what the figures are of; trains the next version'],
    ['tainted', counts.tainted, 'left out: in a window that was found bad'],
    ['proxy', counts.proxyLabelled, 'of train and holdout: with an early feedback for a label'],
  ];
  const historicalRow: Inline[][] =
    historical === null
      ? []
      : [
          [
            'historical holdout',
            '',
            `fixed at ${moment(historical.frozenAtMs)}; rows of ${moment(historical.fromMs)} to ${moment(historical.toMs)}`,
          ],
        ];
  return [
    ...rows
      .filter(([name, rowCount]) => rowCount > 0 || name === 'train' || name === 'holdout')
      .map(([name, rowCount, what]) => [name, count(rowCount), what]),
    ...historicalRow,
  ];
}

function timeline({ version, ancestors, contamination, config }: VersionCard, { manifest }: KnownData): Block[] {
  const own = ownStretches(manifest, config?.snapshot.maxWindow ?? null);
  const parents = ancestors
    .slice(0, PARENTS_DRAWN)
    .flatMap(({ version: parent, window }): TimelineRow[] =>
      window === null ? [] : [{ name: versionName(parent), stretches: windowStretches(window) }],
    );
  const bad: TimelineRow[] =
    contamination === null
      ? []
      : [
          {
            name: 'found bad',
            stretches: [
              {
                what: 'tainted',
                fromMs: contamination.window.fromMs,
                toMs: contamination.window.toMs,
                text: contamination.window.reason,
              },
            ],
          },
        ];
  const older = ancestors.length - parents.length;
  const rows = [{ name: versionName(version.version), stretches: own }, ...bad, ...parents].filter(
    ({ stretches }) => stretches.length > 0,
  );
  if (rows.length === 0) return [];
  return [
    {
      kind: 'figure',
      plot: dataTimeline({
        name: 'data-window',
        title: 'What it and its parents were trained and measured on',
        description: `Event time in UTC: ${versionName(version.version)} was trained on rows of ${stretch(firstMs(manifest), manifest.splitMs)} and measured on rows up to ${moment(manifest.cutoffMs)}; below it ${parents.length === 0 ? 'no parent' : `its ${parents.length === 1 ? 'parent' : `nearest ${String(parents.length)} parents`}`}${older > 0 && parents.length > 0 ? ` of ${String(ancestors.length)}` : ''}. The tables have the times.`,
        rows,
      }),
    },
  ];
}

function ownStretches(manifest: SnapshotManifest, maxWindowMs: number | null): Stretch[] {
  const { splitMs, cutoffMs, eventNowMs, counts, source } = manifest;
  const windowStartMs = firstMs(manifest);
  const oldest =
    maxWindowMs === null ? windowStartMs : Math.max(cutoffMs - maxWindowMs, source.firstEventMs ?? -Infinity);
  const history: Stretch[] =
    counts.replay > 0 && oldest < windowStartMs
      ? [{ what: 'history', fromMs: oldest, toMs: windowStartMs, text: `${count(counts.replay)} rows of history` }]
      : [];
  const waiting: Stretch[] =
    eventNowMs > cutoffMs
      ? [{ what: 'waiting', fromMs: cutoffMs, toMs: eventNowMs, text: 'too young for a complete label' }]
      : [];
  return [...history, ...windowStretches({ fromMs: windowStartMs, splitMs, toMs: cutoffMs }), ...waiting];
}

/** A window that reaches back behind the source's first event begins there. */
function firstMs({ windowStartMs, source }: SnapshotManifest): number {
  return Math.max(windowStartMs, source.firstEventMs ?? windowStartMs);
}

function windowStretches({ fromMs, splitMs, toMs }: NonNullable<Ancestor['window']>): Stretch[] {
  const stretches: Stretch[] = [
    { what: 'train', fromMs, toMs: splitMs, text: `trained on ${stretch(fromMs, splitMs)}` },
    { what: 'holdout', fromMs: splitMs, toMs, text: `holdout ${stretch(splitMs, toMs)}` },
  ];
  return stretches.filter((stretch) => stretch.toMs > stretch.fromMs);
}

const TOLD: Partial<Record<CheckResult['status'], Inline>> = {
  block: { strong: 'blocks' },
  warn: { strong: 'warns' },
  silenced: { strong: 'silenced' },
  dryRun: 'dry run',
};

function checks({ report }: KnownData): Block[] {
  if (report === null) return [paragraph('The checks of this snapshot are not on record.', 'warn')];
  const told = report.results.filter(({ status }) => TOLD[status] !== undefined);
  if (told.length === 0) return [paragraph('No check of the data warned, and none was silenced.')];
  const rows = told.map(({ check, status, message, silence }): Inline[] => [
    { code: check },
    TOLD[status] ?? status,
    `${sentence(message)}${silence === undefined ? '' : ` Silenced until ${when(silence.until)}: ${sentence(silence.reason)}`}`,
  ]);
  return table('Checks of the data that people should know of', ['check', 'status', 'what was found'], rows);
}

function features({ features: all }: SnapshotManifest): Block[] {
  const share = (value: number | null): string => (value === null ? 'unknown' : percent(value));
  return table(
    'Features, with the shares of fresh rows without a value',
    ['feature', 'kind', '#missing in training', '#missing when served', 'logged when served'],
    all.map(({ name, kind, joined, missingTrained, missingServed }) => [
      ...[name, kind, share(missingTrained), share(missingServed)],
      joined ? { strong: 'no: joined afterwards, parity unverified' } : 'yes',
    ]),
  );
}

/** Version by version to the one that was trained from scratch. */
export function parentsSection({ version, ancestors, cycle }: VersionCard, links: CardLinks): Section[] {
  if (version.version === 0) return [];
  const why =
    cycle?.parentReason == null
      ? []
      : [paragraph(sentence(`Its parent is not the champion: ${cycle.parentReason}`), 'warn')];
  if (ancestors.length === 0)
    return [{ title: 'Parents', blocks: [...why, paragraph('None: it was trained from scratch.')] }];
  const rows = ancestors.map(
    ({ version: parent, status, createdAt, strategy, examples, window, contamination }): Inline[] => [
      versionLink(parent, links),
      statusName(status),
      when(createdAt),
      strategy ?? 'unknown',
      examples === null ? 'unknown' : count(examples),
      window === null ? 'unknown' : stretch(window.fromMs, window.splitMs),
      contamination === null ? 'no' : { strong: describeContamination(contamination) },
    ],
  );
  return [
    {
      title: 'Parents',
      blocks: [
        ...why,
        ...table(
          'Its parent, the parent of that, and so on to the cold start',
          ['version', 'status', 'created', 'trained', '#examples', 'on rows of', 'tainted'],
          rows,
        ),
      ],
    },
  ];
}

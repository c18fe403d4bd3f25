import type { RouteSpan } from '../../../store/version-history.ts';
import { lineConfigSchema, type LineConfig, type LineConfigInput } from '../../../config/schema.ts';
import type { CheckReport } from '../../../data/checks/check.ts';
import type { Ancestor, VersionCard } from '../../../data/card/card.ts';
import { readMetrics } from '../../../data/card/recorded.ts';
import { metrics } from './stage-evaluation.ts';
import type { SnapshotManifest } from '../../../data/snapshot-manifest.ts';

/** A version of a news feed with everything a card can tell: tests change one thing and read what the card says. */

export const HOUR = 3_600_000;
const MINUTE = 60_000;
/** When its snapshot was taken, event time and operating time alike. */
export const TAKEN = Date.UTC(2026, 4, 12, 16);
export const LINE = 'news-feed';

export const SNAPSHOT = 'ab12'.repeat(16);

export function config(change: Partial<LineConfigInput> = {}): LineConfig {
  return lineConfigSchema.parse({
    line: LINE,
    description: 'Ranks the stories of the front page of the app.',
    features: [
      { kind: 'categorical', name: 'topic', from: 'candidate' },
      { kind: 'categorical', name: 'country', from: 'user' },
      { kind: 'categorical', name: 'surface', from: 'context' },
      { kind: 'numeric', name: 'age_hours', from: 'candidate', transform: 'log1p' },
    ],
    evaluation: {
      slices: [
        { name: 'surface', column: 'surface' },
        { name: 'users', novelty: 'user' },
      ],
    },
    gate: {
      tolerance: 0.002,
      notWorse: [{ metric: 'logLoss', tolerance: 0.001 }],
      slices: [{ slice: 'surface', tolerance: 0.01 }],
    },
    ...change,
  });
}

export function manifest(): SnapshotManifest {
  const file = { sha256: 'c'.repeat(64), bytes: 1_000, rows: 10 };
  const feature = (name: string, kind: 'categorical' | 'numeric') => ({
    name,
    kind,
    joined: false,
    missingTrained: 0.012,
    missingServed: 0.011,
    invalid: 0,
    knownAfter: null,
  });
  const cutoffMs = TAKEN - 40 * MINUTE;
  return {
    contractVersion: 2,
    line: LINE,
    cycleId: 'cycle-12',
    eventNowMs: TAKEN,
    maturityMs: 40 * MINUTE,
    label: { delays: null, maturityFrom: 'measured', trueCutoffMs: null },
    windowStartMs: cutoffMs - 4.8 * HOUR,
    splitMs: cutoffMs - HOUR,
    cutoffMs,
    replay: 'sample',
    parentTakenAtMs: TAKEN - 4 * HOUR,
    writer: 'duckdb 1.5',
    files: { train: [file], holdout: [file], replay: [file], historical: [], unlabelled: [] },
    historical: null,
    profiles: { fresh: null, unlabelled: null },
    counts: {
      ...{
        read: 600_000,
        malformed: 0,
        otherLine: 0,
        notArrived: 0,
        future: 0,
        duplicates: 12,
        immature: 40_000,
        history: 120_000,
      },
      ...{ tainted: 0, reserved: 9_000, sampledOut: 0, train: 380_120, holdout: 48_211, replay: 32_781 },
      ...{ lateIncluded: 311, corrected: 0, proxyLabelled: 0, positives: 39_120 },
    },
    feedback: { read: 45_000, malformed: 0, orphans: 3 },
    features: [
      feature('topic', 'categorical'),
      feature('country', 'categorical'),
      feature('surface', 'categorical'),
      feature('age_hours', 'numeric'),
    ],
    source: {
      ...{ kind: 'eventLog', location: '.freshet/events', rows: 600_000, columns: [], repeats: { byId: 12, byKey: 0 } },
      ...{
        firstEventMs: TAKEN - 30 * HOUR,
        newestEventMs: TAKEN,
        newestArrivalMs: TAKEN,
        recent: 300_000,
        recentSeasonBack: 290_000,
        hourly: [],
      },
    },
  };
}

export function report(results: Partial<CheckReport['results'][number]>[] = []): CheckReport {
  const pass = {
    check: 'volume.min-rows',
    status: 'pass',
    severity: 'critical',
    numbers: {},
    threshold: {},
    message: 'enough rows',
  } as const;
  return {
    verdict: 'pass',
    comparedWith: { training: [], season: [], week: [] },
    results: [pass, ...results.map((result) => ({ ...pass, ...result }))],
  };
}

function ancestor(version: number, strategy: string): Ancestor {
  const toMs = TAKEN - (12 - version) * 4 * HOUR - 40 * MINUTE;
  return {
    ...{
      version,
      status: 'archived',
      createdAt: new Date(TAKEN - (12 - version) * 4 * HOUR),
      strategy,
      examples: 400_000,
    },
    ...{ snapshotId: 'd'.repeat(64), contamination: null },
    window:
      version === 8
        ? { fromMs: toMs - 14 * HOUR, splitMs: toMs - HOUR, toMs }
        : { fromMs: toMs - 4.8 * HOUR, splitMs: toMs - HOUR, toMs },
  };
}

export function spans(): RouteSpan[] {
  const begun = TAKEN + 20 * MINUTE;
  const steps: [RouteSpan['role'], number, number][] = [
    ['shadow', 1, 0],
    ...[0.01, 0.05, 0.25, 0.5, 0.9].map((share, index): [RouteSpan['role'], number, number] => [
      'canary',
      share,
      15 + index * 6,
    ]),
    ['stable', 1, 45],
  ];
  return steps.map(([role, share, minute], index) => {
    const next = steps[index + 1];
    return {
      ...{
        epoch: 40 + index,
        role,
        share,
        who: 'cycle cycle-12',
        why: role === 'stable' ? 'healthy for 30 min' : `${role} step`,
      },
      fromAt: new Date(begun + minute * MINUTE),
      toAt: next === undefined ? null : new Date(begun + next[2] * MINUTE),
      cycleId: 'cycle-12',
    };
  });
}

/** Promoted and serving; `version`, `cycle` and the recorded metrics are changed field by field. */
export function card({
  version,
  cycle,
  recorded = {},
  ...change
}: Partial<Omit<VersionCard, 'version' | 'cycle' | 'metrics'>> & {
  version?: Partial<VersionCard['version']>;
  cycle?: Partial<NonNullable<VersionCard['cycle']>> | null;
  recorded?: Record<string, unknown>;
} = {}): VersionCard {
  const frozen = config();
  const base: NonNullable<VersionCard['cycle']> = {
    ...{
      cycleId: 'cycle-12',
      line: LINE,
      workflowId: 'freshet-news-feed-12',
      runId: 'run-12',
      trigger: 'schedule',
      configHash: 'f'.repeat(64),
    },
    ...{
      stableAtStart: 11,
      parent: 11,
      parentReason: null,
      candidate: 12,
      startedAt: new Date(TAKEN),
      closedAt: new Date(TAKEN + 65 * MINUTE),
    },
    ...{ outcome: 'promoted', reasons: [{ code: 'promoted', message: 'healthy at every step' }] },
    phases: ['snapshot', 'check', 'train', 'parity', 'evaluate', 'gate', 'register', 'shadow', 'canary'].map(
      (phase, index) => ({
        ...{
          phase,
          startedAt: new Date(TAKEN + index * 2 * MINUTE).toISOString(),
          endedAt: new Date(TAKEN + (index + 1) * 2 * MINUTE).toISOString(),
        },
      }),
    ),
  };
  return {
    asOf: new Date(TAKEN + 9 * HOUR),
    version: {
      ...{
        line: LINE,
        version: 12,
        status: 'stable',
        parent: 11,
        cycleId: 'cycle-12',
        modelSha256: '1'.repeat(64),
        checkpointSha256: '2'.repeat(64),
      },
      ...{
        features: frozen.features,
        trainingCutoffMs: TAKEN - 100 * MINUTE,
        createdAt: new Date(TAKEN + 18 * MINUTE),
      },
      lineage: {
        ...{
          parent: 11,
          strategy: 'incremental',
          snapshotId: SNAPSHOT,
          trainerManifestSha256: '3'.repeat(64),
          config: frozen,
          configHash: 'f'.repeat(64),
        },
        training: {
          strategy: 'incremental',
          repair: null,
          reasons: [
            {
              code: 'training.continued',
              message: 'incremental from version 11, which goes back to a training in full 2.7 days ago',
            },
          ],
        },
        ...{
          features: frozen.features,
          codeVersion: 'a1b2c3d',
          seed: 7,
          threads: 1,
          environment: { torch: '2.9.0', python: '3.12.3' },
        },
        ...{ cycleId: 'cycle-12', workflowId: 'freshet-news-feed-12', runId: 'run-12' },
      },
      ...version,
    },
    metrics: readMetrics(JSON.parse(JSON.stringify(metrics(recorded))) as Record<string, unknown>),
    config: frozen,
    route: {
      ...{
        line: LINE,
        epoch: 46,
        salt: 's',
        cycleId: null,
        who: 'cycle cycle-12',
        why: 'healthy',
        at: new Date(TAKEN + 65 * MINUTE),
      },
      ...{ stable: 12, canary: null, canaryShare: 0, holdback: 0, holdbackVersion: null, shadow: null, shadowShare: 0 },
    },
    cycle: cycle === null ? null : { ...base, ...cycle },
    data: {
      kind: 'known',
      snapshotId: SNAPSHOT,
      manifest: manifest(),
      report: report([{ check: 'drift.features', status: 'warn', message: 'topic drifted: PSI 0.21' }]),
    },
    ancestors: [
      ancestor(11, 'incremental'),
      ancestor(10, 'incremental'),
      ancestor(9, 'incremental'),
      ancestor(8, 'full'),
    ],
    contamination: null,
    taints: [],
    decisions: [],
    aliases: [],
    pin: null,
    statuses: (['candidate', 'shadow', 'canary', 'stable'] as const).map((to, index, all) => ({
      from: all[index - 1] ?? null,
      to,
      at: new Date(TAKEN + (18 + index * 15) * MINUTE),
    })),
    routes: spans(),
    takenOff: null,
    removed: [],
    ...change,
  };
}

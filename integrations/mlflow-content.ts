import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { BehindVersion } from '../store/mlflow-mirrors.ts';
import type { RunContent, Tags } from './mlflow.ts';

/** What a version is in MLflow: its run, and its model version. */
export interface MlflowContent {
  run: Required<RunContent> & { name: string; startMs: number; endMs: number };
  modelVersion: { source: string; description: string; tags: Tags };
}

/** Names the one run of a version, whoever made it. */
export const VERSION_TAG = 'freshet.id';

/** Of MLflow: keys, values of params, values of tags (older servers take 5,000). */
const MAX = { key: 250, param: 6_000, tag: 5_000 } as const;

const estimate = z.object({ estimate: z.number(), lower: z.number().nullish(), upper: z.number().nullish() });
/** Each entry by itself: what an older build wrote in another shape is left out, not the rest. */
const estimates = z.record(z.string(), estimate.nullable().catch(null)).nullable().catch(null);
const population = { rows: count(), positives: count(), users: count(), groups: count() };
const figures = z.object({ ...population, challenger: estimates, champion: estimates, gain: estimates });
const metricsSchema = z.object({
  training: z.record(z.string(), z.number().nullable().catch(null)).catch({}),
  examples: count(),
  parity: z.object({ rows: count(), maxDelta: count(), meanDelta: count() }).nullable().catch(null),
  gate: z
    .object({ kind: z.string(), reasons: z.array(z.object({ message: z.string() })).catch([]) })
    .nullable()
    .catch(null),
  evaluation: z
    .object({
      champion: z.number().nullable().catch(null),
      overall: figures.nullable().catch(null),
      slices: z
        .array(
          z.object({ slice: z.string(), value: z.string(), rows: count(), figures: figures.nullable().catch(null) }),
        )
        .catch([]),
      gaps: z.array(z.object({ slice: z.string(), metric: z.string(), gap: estimate })).catch([]),
      latency: z
        .array(z.object({ candidates: z.number(), challenger: z.object({ p50Ms: count(), p99Ms: count() }) }))
        .catch([]),
      maxScoreChange: count(),
      modelBytes: count(),
    })
    .nullable()
    .catch(null),
});
type Metrics = z.output<typeof metricsSchema>;

/** The content of a version's copy. What is not a finite number is left out: MLflow's plots would break on it. */
export function mlflowContent(version: BehindVersion): MlflowContent {
  const { line, lineage, origin } = version;
  const metrics = metricsSchema.parse(version.metrics);
  const training = origin.phases?.find(({ phase }) => phase === 'train');
  const endMs = time(training?.endedAt) ?? version.createdAt.getTime();
  const tags = versionTags(version, metrics);
  return {
    run: {
      name: `${line} ${String(version.version)}`,
      startMs: time(training?.startedAt) ?? endMs,
      endMs,
      params: params(version, metrics),
      metrics: Object.fromEntries(valid(runMetrics(metrics))),
      metricsAtMs: endMs,
      tags: {
        ...tags,
        ...environmentTags(lineage.environment ?? {}),
        'mlflow.source.name': 'freshet',
        'mlflow.source.type': 'JOB',
      },
    },
    modelVersion: {
      source: `freshet://artifacts/${version.modelSha256}`,
      description: `Version ${String(version.version)} of ${line}, ${
        version.parent === null ? 'trained from scratch' : `trained from version ${String(version.parent)}`
      }. The model is in Freshet's artifact store under its sha256.`,
      tags,
    },
  };
}

function versionTags(
  { line, version, status, cycleId, modelSha256, lineage, origin }: BehindVersion,
  { gate }: Metrics,
): Tags {
  return cutTags({
    [VERSION_TAG]: `${line}/${String(version)}/${cycleId ?? ''}`,
    'freshet.line': line,
    'freshet.version': String(version),
    'freshet.status': status,
    'freshet.outcome': origin.outcome,
    'freshet.gate': gate?.kind,
    'freshet.gateReasons': gate?.reasons.map(({ message }) => message).join('\n'),
    'freshet.snapshot': lineage.snapshotId,
    'freshet.cycle': cycleId,
    'freshet.trigger': origin.trigger,
    'freshet.workflow': origin.workflowId ?? lineage.workflowId,
    'freshet.run': origin.runId ?? lineage.runId,
    'freshet.codeVersion': lineage.codeVersion,
    'freshet.modelSha256': modelSha256,
  });
}

function environmentTags(environment: Readonly<Record<string, string>>): Tags {
  return cutTags(
    Object.fromEntries(
      Object.entries(environment).map(([key, value]) => [mlflowKey(`freshet.environment.${key}`), value]),
    ),
  );
}

function cutTags(tags: Readonly<Record<string, string | null | undefined>>): Tags {
  const entries = Object.entries(tags).filter((entry): entry is [string, string] => (entry[1] ?? '') !== '');
  return Object.fromEntries(entries.map(([key, value]) => [key, cut(value, MAX.tag)]));
}

function params(version: BehindVersion, { evaluation }: Metrics): Record<string, string> {
  const { lineage } = version;
  const all: [string, unknown][] = [
    ['strategy', lineage.strategy],
    ['parent', version.parent ?? 'none'],
    ['champion', evaluation === null ? undefined : (evaluation.champion ?? 'none')],
    ['configHash', lineage.configHash],
    ['seed', lineage.seed],
    ['threads', lineage.threads],
    ['features', lineage.features?.map(({ name }) => name).join(' ')],
    [
      'trainingCutoff',
      version.trainingCutoffMs === null ? undefined : new Date(version.trainingCutoffMs).toISOString(),
    ],
    ...leaves('training', lineage.config?.training),
  ];
  return Object.fromEntries(
    all
      .filter(([, value]) => value !== undefined && value !== null && value !== '')
      .map(([key, value]) => [mlflowKey(key), cut(String(value), MAX.param)]),
  );
}

/** `{a: {b: 1}}` as `name.a.b`; lists in one piece. */
function leaves(name: string, value: unknown): [string, unknown][] {
  if (value === null || typeof value !== 'object') return [[name, value]];
  if (Array.isArray(value)) return [[name, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, inner]) => leaves(`${name}.${key}`, inner));
}

type Entry = [string, number | null | undefined];

function runMetrics({ training, examples, parity, evaluation }: Metrics): Entry[] {
  const trained = Object.entries(training).map(([name, value]): Entry => [`training.${name}`, value]);
  const compared: Entry[] = Object.entries(parity ?? {}).map(([name, value]) => [`parity.${name}`, value]);
  return [
    ['examples', examples],
    ...trained,
    ...compared,
    ...(evaluation === null ? [] : evaluationMetrics(evaluation)),
  ];
}

function evaluationMetrics(evaluation: NonNullable<Metrics['evaluation']>): Entry[] {
  const { overall, slices, gaps, latency, maxScoreChange, modelBytes } = evaluation;
  return [
    ['maxScoreChange', maxScoreChange],
    ['modelBytes', modelBytes],
    ...(overall === null ? [] : overallMetrics(overall)),
    ...slices.flatMap(({ slice, value, rows, figures: of }): Entry[] => {
      const name = `slice.${slice}.${value}`;
      return [
        [`${name}.rows`, rows],
        ...estimated(name, of?.challenger),
        ...estimated(`${name}.champion`, of?.champion),
        ...estimated(`${name}.gain`, of?.gain),
      ];
    }),
    ...gaps.map(({ slice, metric, gap }): Entry => [`gap.${slice}.${metric}`, gap.estimate]),
    ...latency.flatMap(({ candidates, challenger }): Entry[] => [
      [`latency.${String(candidates)}.p50Ms`, challenger.p50Ms],
      [`latency.${String(candidates)}.p99Ms`, challenger.p99Ms],
    ]),
  ];
}

function overallMetrics(overall: z.output<typeof figures>): Entry[] {
  const { rows, positives, users, groups } = overall;
  const sides = (['challenger', 'champion', 'gain'] as const).flatMap((side) =>
    Object.entries(overall[side] ?? {}).flatMap(([metric, value]): Entry[] => [
      [`${side}.${metric}`, value?.estimate],
      [`${side}.${metric}.lower`, value?.lower],
      [`${side}.${metric}.upper`, value?.upper],
    ]),
  );
  return [...Object.entries({ rows, positives, users, groups }), ...sides];
}

function estimated(name: string, values: z.output<typeof estimates> | undefined): Entry[] {
  return Object.entries(values ?? {}).map(([metric, value]): Entry => [`${name}.${metric}`, value?.estimate]);
}

function valid(entries: readonly Entry[]): [string, number][] {
  return entries.flatMap(([key, value]): [string, number][] =>
    typeof value === 'number' && Number.isFinite(value) ? [[mlflowKey(key), value]] : [],
  );
}

/**
 * A name as MLflow takes it for metrics, params and tags: letters, digits, `_`, `-`, `.` and spaces, at most 250. A name
 * that had to be changed ends in a hash of the original, so that no two become one.
 */
export function mlflowKey(name: string): string {
  const key = name.replaceAll(/[^\p{L}\p{N}_\-. ]/gu, '_');
  if (key === name && key.length <= MAX.key) return key;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${Array.from(key)
    .slice(0, MAX.key - hash.length - 1)
    .join('')}-${hash}`;
}

function cut(value: string, max: number): string {
  return value.length <= max ? value : `${value.slice(0, max - 1)}…`;
}

function count(): z.ZodCatch<z.ZodNullable<z.ZodNumber>> {
  return z.number().nullable().catch(null);
}

function time(iso: string | null | undefined): number | null {
  const ms = iso === null || iso === undefined ? NaN : Date.parse(iso);
  return Number.isFinite(ms) ? ms : null;
}

import { z } from 'zod';
import {
  checksSection,
  featureSchema,
  labelSection,
  logSection,
  silenceSchema,
  snapshotSection,
} from './data-sections.ts';
import { duration, formatDuration } from './duration.ts';
import { SNAPSHOT_COLUMNS } from './fields.ts';
import { sourceSection } from './source-section.ts';
import { evaluationSection, gateSection, retentionSection } from './gate-section.ts';
import { trainingSection } from './model-sections.ts';
import { triggersSection } from './trigger-section.ts';
import { canarySection, explorationSection, healthSection, shadowSection, watchSection } from './rollout-sections.ts';

export { CHECK_CODES, CHECK_SETTINGS, type CheckCode, type Severity } from './checks/index.ts';

/**
 * The config of one model line: one YAML file, checked here. Each default carries its reason in `describe`,
 * which is also what editors show through the generated JSON Schema (`config/line.schema.json`).
 * Durations are written `4h`, `30m`, `90s` and read as milliseconds. *Operating* durations are of real time and are
 * divided by `--speed`; *event* durations are of the data's own time and are not.
 */

const slug = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and dashes, such as news-feed');

export const lineConfigSchema = z
  .object({
    line: slug.describe('Name of the model line; its schedule, routes and versions carry it.'),
    description: z.string().default(''),
    clock: z
      .enum(['wall', 'replay'])
      .default('wall')
      .describe('Event time: `wall` is now; `replay` is driven by a replayer of a log through the event clock.'),
    schedule: z
      .object({
        every: duration
          .default(14_400_000)
          .describe("Operating. 4h: the concept's cadence, which keeps most of the gain of hourly refreshing."),
        catchUp: duration
          .default(14_400_000)
          .describe(
            "Operating. One interval: after an outage one cycle is enough, since a snapshot begins at the parent's cutoff.",
          ),
      })
      .strict()
      .prefault({}),
    triggers: triggersSection.describe('What starts a cycle besides the schedule, through the schedule.'),
    features: z.array(featureSchema).min(1, 'a line needs at least one feature').max(512),
    source: sourceSection.describe('Where impressions and labels come from.'),
    label: labelSection,
    snapshot: snapshotSection,
    checks: checksSection,
    silences: z
      .array(silenceSchema)
      .default([])
      .describe('Guards that are off for a while, each with a reason and an end.'),
    training: trainingSection,
    evaluation: evaluationSection,
    gate: gateSection,
    retention: retentionSection,
    shadow: shadowSection,
    canary: canarySection,
    watch: watchSection.describe(
      'After the promotion: health checks go on, with the holdback on the old stable as control.',
    ),
    health: healthSection,
    exploration: explorationSection,
    log: logSection,
  })
  .strict()
  .superRefine((config, context) => {
    const seen = new Set<string>();
    for (const [index, item] of config.features.entries()) {
      const name = item.name.toLowerCase();
      const taken = Object.hasOwn(SNAPSHOT_COLUMNS, name)
        ? 'is a column of every snapshot'
        : seen.has(name)
          ? 'is declared twice'
          : null;
      if (taken !== null) {
        const message = `feature "${item.name}" ${taken} (upper and lower case count as the same): rename it and give the request's name in "field"`;
        context.addIssue({ code: 'custom', path: ['features', index, 'name'], message });
      }
      seen.add(name);
    }
    const { steps, window, checkEvery, lease, rollbackDeadline } = config.canary;
    if (steps.some((step, index) => index > 0 && step <= (steps[index - 1] ?? 0))) {
      context.addIssue({ code: 'custom', path: ['canary', 'steps'], message: 'steps must grow' });
    }
    if (checkEvery * steps.length > window) {
      context.addIssue({
        code: 'custom',
        path: ['canary', 'window'],
        message: 'the window must hold at least one check a step',
      });
    }
    if (config.watch.window > 0 && config.watch.window < checkEvery) {
      const message = `the watch must hold at least one check: expected ${formatDuration(checkEvery)} (canary.checkEvery) or more, or 0s, which leaves it out`;
      context.addIssue({ code: 'custom', path: ['watch', 'window'], message });
    }
    if (lease <= checkEvery) {
      context.addIssue({
        code: 'custom',
        path: ['canary', 'lease'],
        message: 'the lease must outlast a check interval, or every canary would expire',
      });
    }
    if (lease >= rollbackDeadline) {
      context.addIssue({
        code: 'custom',
        path: ['canary', 'lease'],
        message: 'the lease must run out before the rollback deadline',
      });
    }
    for (const { path, message } of [...onlineProblems(config), ...gateProblems(config)])
      context.addIssue({ code: 'custom', path, message });
  });

/** An online update takes the whole way through shadow and canary, and is done before the next start. */
function onlineProblems({
  schedule,
  training: { online },
  canary,
  watch,
}: {
  schedule: { every: number };
  training: z.output<typeof trainingSection>;
  canary: z.output<typeof canarySection>;
  watch: z.output<typeof watchSection>;
}): { path: string[]; message: string }[] {
  if (online === undefined) return [];
  const { steps, checkEvery } = canary;
  const { every, shadow, window } = online;
  const watchMs = onlineWatch({ online, canary, watch });
  const problems = [
    every >= schedule.every && {
      path: 'every',
      message: `online updates come between whole cycles: expected less than schedule.every (${formatDuration(schedule.every)})`,
    },
    checkEvery * steps.length > window && {
      path: 'window',
      message: `the window must hold at least one check a step: expected ${formatDuration(checkEvery * steps.length)} or more`,
    },
    shadow + window + watchMs >= every && {
      path: 'every',
      message: `an update must be over before the next one: expected more than its shadow, its window and its watch (${formatDuration(shadow + window + watchMs)})`,
    },
  ];
  return problems.flatMap((problem) =>
    problem === false ? [] : [{ path: ['training', 'online', problem.path], message: problem.message }],
  );
}

/** How long an online update is watched after its promotion: shorter than a whole cycle as its ramp is. */
export function onlineWatch({
  online,
  canary,
  watch,
}: {
  online: { window: number };
  canary: { window: number };
  watch: { window: number };
}): number {
  return Math.round((watch.window * online.window) / canary.window);
}

/** Rules that name what is not measured would hold every cycle. */
function gateProblems({
  evaluation,
  gate,
}: {
  evaluation: z.output<typeof evaluationSection>;
  gate: z.output<typeof gateSection>;
}): { path: (string | number)[]; message: string }[] {
  const names = evaluation.slices.map(({ name }) => name);
  const unknownSlice = (path: string) => (rule: { slice: string }, index: number) =>
    names.includes(rule.slice)
      ? []
      : [
          {
            path: ['gate', path, index, 'slice'],
            message: `evaluation.slices has no "${rule.slice}": ${names.length === 0 ? 'there are none' : `expected one of ${names.join(', ')}`}`,
          },
        ];
  const repeated = names.filter((name, index) => names.indexOf(name) !== index);
  const { calibration } = gate;
  return [
    ...repeated.map((name) => ({ path: ['evaluation', 'slices'], message: `slice "${name}" is declared twice` })),
    ...gate.slices.flatMap(unknownSlice('slices')),
    ...gate.segmentGap.flatMap(unknownSlice('segmentGap')),
    ...gate.slices.flatMap(({ minRows }, index) =>
      minRows >= evaluation.sliceMinRows
        ? []
        : [
            {
              path: ['gate', 'slices', index, 'minRows'],
              message: `parts of ${String(minRows)} rows are not measured: expected at least evaluation.sliceMinRows (${String(evaluation.sliceMinRows)})`,
            },
          ],
    ),
    ...gate.latency.flatMap(({ candidates }, index) =>
      evaluation.latencyCandidates.includes(candidates)
        ? []
        : [
            {
              path: ['gate', 'latency', index, 'candidates'],
              message: `not timed: expected one of evaluation.latencyCandidates (${evaluation.latencyCandidates.join(', ')})`,
            },
          ],
    ),
    ...(calibration !== null && calibration.min >= calibration.max
      ? [{ path: ['gate', 'calibration'], message: 'min must be below max' }]
      : []),
  ];
}

/** A line's config as it is written. */
export type LineConfigInput = z.input<typeof lineConfigSchema>;
/** A line's config as it is read: every default filled in, every duration in milliseconds. */
export type LineConfig = z.output<typeof lineConfigSchema>;
export type Feature = LineConfig['features'][number];
export type EvaluationConfig = LineConfig['evaluation'];
export type GateConfig = LineConfig['gate'];
export type RetentionConfig = LineConfig['retention'];
export type HealthConfig = LineConfig['health'];
export type CanaryConfig = LineConfig['canary'];
export type WatchConfig = LineConfig['watch'];
export type ShadowConfig = LineConfig['shadow'];
export type TriggersConfig = LineConfig['triggers'];
export type Silence = LineConfig['silences'][number];

import type { LineConfig, Silence } from '../../config/schema.ts';
import type { CycleOutcome, CycleResult } from '../../workflows/messages.ts';

/** One cycle of the story and how it must end. */
export interface Scene {
  title: string;
  config: LineConfig;
  expected: readonly CycleOutcome[];
  /** What must hold besides the outcome; a sentence when it does not. */
  verify?: (result: CycleResult) => string | null;
  /** What the director does to this cycle. */
  incident?: 'halfLoaded' | 'operator';
}

const SILENCED_FOR_MS = 86_400_000;
const SILENCED: readonly { guard: Silence['guard']; reason: string }[] = [
  { guard: 'feature-parity', reason: 'demo: shows what the monitor is for when this check is off' },
  { guard: 'leakage', reason: 'demo: shows what the monitor is for when this check is off' },
  { guard: 'leakage.time', reason: 'demo: shows what the monitor is for when this check is off' },
  { guard: 'shadow.divergence', reason: 'demo: divergence only warns, so that the canary gets to see users' },
];

/** The story: five ways a cycle can go and the one that the guards stop, in this order. */
export function storyScenes(config: LineConfig, nowMs: number): Scene[] {
  const skewed = withPostClickFeature(config);
  const until = new Date(nowMs + SILENCED_FOR_MS).toISOString();
  return [
    {
      title: 'cold start: no champion, straight to stable after the absolute thresholds',
      config,
      expected: ['promoted'],
    },
    {
      title: 'warm start from the champion: shadow, ramp, monitor, promote',
      config,
      expected: ['promoted'],
    },
    {
      title: 'the newest stretch is half loaded: nothing is trained on it',
      config,
      expected: ['skipped'],
      incident: 'halfLoaded',
    },
    {
      title: `training/serving skew: ${postClickColumn(config)} is joined after the fact, guards silenced; the monitor has to find it`,
      config: { ...skewed, silences: SILENCED.map((silence) => ({ ...silence, until })) },
      expected: ['rolledBack'],
      verify: (result) =>
        typeof result.rollback?.firstFailedCheckAtMs === 'number' ? null : 'the monitor did not decide the rollback',
    },
    {
      title: 'an operator pauses, resumes and forces a rollback during the canary',
      config,
      expected: ['rolledBack'],
      incident: 'operator',
      verify: (result) =>
        result.reasons.some((reason) => reason.code === 'operator.forceRollback')
          ? null
          : 'the rollback was not the operator’s',
    },
    {
      title: `the skewed feature again, guards on`,
      config: skewed,
      expected: ['skipped', 'rejected'],
    },
  ];
}

export function silencedGuards(scene: Scene): string[] {
  return scene.config.silences.map(({ guard, reason, until }) => `${guard} is off until ${until} (${reason})`);
}

function postClickColumn({ log }: LineConfig): string {
  if (log === undefined) throw new Error('the line has no `log` section: the demo needs one to replay traffic');
  return log.postClick ?? log.dwellMs ?? log.label;
}

function withPostClickFeature(config: LineConfig): LineConfig {
  const { log } = config;
  const column = postClickColumn(config);
  if (log === undefined) return config;
  return {
    ...config,
    features: [
      ...config.features,
      {
        kind: 'numeric',
        name: column,
        from: 'candidate',
        transform: 'none',
        joined: {
          path: '{log}',
          column,
          on: { userId: log.user, itemId: log.item, eventTimeMs: log.timeMs },
          parity: 'unverified',
        },
      },
    ],
    training: { ...config.training, strategy: 'full' },
  };
}

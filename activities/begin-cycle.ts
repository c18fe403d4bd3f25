import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { onlineWatch, type LineConfig } from '../config/schema.ts';
import type { ServingCapabilities } from '../integrations/serving-target.ts';
import type { Reason } from '../policy/verdict.ts';
import { activeSilence } from '../policy/silences.ts';
import type { TrainingDecision } from '../policy/training-strategy.ts';
import { claimCycle, readCycle } from '../store/cycles.ts';
import { takeCycleRequest } from '../store/cycle-requests.ts';
import { once } from '../store/effects.ts';
import { currentRoute } from '../store/routes.ts';
import { INPUT_ORDER_VERSION } from '../store/types.ts';
import { decideTraining } from './decide-training.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { explainRefusal } from './refusal.ts';

/** How long a request left for the next cycle stays good. Longer, and it belonged to a start the schedule skipped. */
const REQUEST_FRESH_MS = 60_000;

export interface BeginCycleInput {
  line: string;
  cycleId: string;
  workflowId: string;
  runId: string;
  trigger: string;
}

/** What the workflow needs of the config that the cycle froze when it began. Durations in operating milliseconds. */
export interface CyclePlan {
  champion: number | null;
  /** What is known from the start and belongs into the journal; left out by older builds. */
  notes?: string[];
  trigger: string;
  epoch: number;
  /** How the challenger is trained; left out by older builds. */
  training?: TrainingDecision;
  gate: LineConfig['gate'];
  /** Null: what serves the line scores no copies, so the phase is left out. */
  shadow: LineConfig['shadow'] | null;
  canary: LineConfig['canary'];
  /** Of the promoted version; left out by older builds: none. */
  watch?: LineConfig['watch'];
  /** Left out by older builds: `consecutive`. */
  healthMode?: LineConfig['health']['mode'];
  trainingTimeoutMs: number;
  /** Of the trainings that wait for a device; left out by older builds. */
  trainingPriority?: { priorityKey: number; fairnessWeight: number };
  /** New scores that differ from the champion's by less than this everywhere are worth a warning. */
  minScoreChange: number;
  shadowDivergenceSilenced: boolean;
  silences: { guard: string; until: string; reason: string }[];
}

export type BeginCycleResult =
  | { kind: 'claimed'; plan: CyclePlan }
  | { kind: 'busy'; by: string }
  /** This very cycle was closed before, by an operator or by a run that took it over. */
  | { kind: 'closed'; reason: Reason };

/**
 * Claims the line for this run (invariant 4), freezes its config and decides how the cycle trains, which its durations
 * depend on. A claim of a run that Temporal says is over is taken over, and what that run left routed is removed first.
 * Repeating it for the same cycle returns the same plan.
 */
export async function beginCycle(deps: RolloutDependencies, input: BeginCycleInput): Promise<BeginCycleResult> {
  const request = await once(deps.db, `${input.cycleId}/request`, (tx) =>
    takeCycleRequest(tx, { line: input.line, freshMs: REQUEST_FRESH_MS }),
  );
  const trigger = request === null ? input.trigger : `${request.trigger}: ${request.why} (${request.who})`;
  const claim = await claimCycle(deps.db, {
    ...input,
    trigger,
    isRunOver: ({ workflowId }) => isRunOver(deps.temporal, workflowId),
  });
  if (claim.kind === 'busy') return { kind: 'busy', by: claim.by.workflowId };
  if (claim.kind === 'cycleClosed') return { kind: 'closed', reason: explainRefusal(claim).reason };
  if (claim.takenOver !== undefined) {
    deps.logger.warn({ line: input.line, cycleId: claim.takenOver }, 'took over the claim of a run that is over');
  }
  const training = await decideTraining(deps.db, claim.cycle);
  // The decision may have changed the parent.
  const { config, stableAtStart, parentReason } = await readCycle(deps.db, input.cycleId);
  const route = await currentRoute(deps.db, input.line);
  // A run that died may have moved the route and told nobody.
  await deps.serving.apply(route);
  const { capabilities } = deps.serving;
  return {
    kind: 'claimed',
    plan: {
      champion: stableAtStart === INPUT_ORDER_VERSION ? null : stableAtStart,
      notes: [
        ...(parentReason === null ? [] : [parentReason]),
        ...training.reasons
          .filter(({ message }) => parentReason?.includes(message) !== true)
          .map(({ message }) => `training ${training.strategy}: ${message}`),
        ...(capabilities.shadow ? [] : ['no shadow: what serves the line scores no copies of requests']),
        ...(capabilities.holdback
          ? []
          : ['no holdback and no watch: what serves the line keeps no users on a version']),
      ],
      training,
      trigger: claim.cycle.trigger,
      epoch: route.epoch,
      gate: config.gate,
      ...servedBy(capabilities, rolloutOf(config, training)),
      healthMode: config.health.mode,
      trainingTimeoutMs: config.training.timeout,
      trainingPriority: {
        priorityKey: config.training.priority,
        fairnessWeight: config.training.fairnessWeight,
      },
      minScoreChange: config.training.minScoreChange,
      shadowDivergenceSilenced: activeSilence(config.silences, 'shadow.divergence', Date.now()) !== null,
      silences: config.silences,
    },
  };
}

/** An online update moves a few weights: the same checks on a shorter way. */
function rolloutOf(
  { training: { online }, shadow, canary, watch }: LineConfig,
  { strategy }: TrainingDecision,
): Pick<CyclePlan, 'shadow' | 'canary' | 'watch'> {
  if (strategy !== 'online' || online === undefined) return { shadow, canary, watch };
  return {
    shadow: { ...shadow, duration: online.shadow },
    canary: { ...canary, window: online.window },
    watch: { window: onlineWatch({ online, canary, watch }) },
  };
}

/** Without what the serving target can not do. */
function servedBy(
  { shadow, holdback }: ServingCapabilities,
  plan: Pick<CyclePlan, 'shadow' | 'canary' | 'watch'>,
): Pick<CyclePlan, 'shadow' | 'canary' | 'watch'> {
  return {
    ...plan,
    shadow: shadow ? plan.shadow : null,
    canary: holdback ? plan.canary : { ...plan.canary, holdback: 0 },
  };
}

async function isRunOver(client: Client, workflowId: string): Promise<boolean> {
  try {
    // The newest run of the workflow: after a reset the cycle's row still names the run before it.
    const { status } = await client.workflow.getHandle(workflowId).describe();
    return status.name !== 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return true;
    throw error;
  }
}

import { moveRoute } from '../store/routes.ts';
import { readCycle } from '../store/cycles.ts';
import type { RouteState } from '../store/types.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { explainRefusal, type Refusal } from './refusal.ts';

export interface SetRouteInput {
  cycleId: string;
  line: string;
  version: number;
  expectedEpoch: number;
  /** Names the step in the effect's key: `shadow`, `canary-1`. */
  step: string;
  /** The champion that was evaluated: the move is refused when it is no longer stable. */
  champion: number;
  change: { kind: 'shadow'; share: number } | { kind: 'canary'; share: number; holdback: number };
  why: string;
}

export type SetRouteResult =
  { kind: 'moved'; epoch: number; movedAtMs: number } | { kind: 'refused'; refusal: Refusal };

/**
 * Moves the line's route to shadow or to a step of the ramp: compare-and-swap on the epoch, refused once the cycle is
 * closed. The first move opens the lease; later ones need it unexpired and do not extend it.
 */
export async function setRoute(deps: RolloutDependencies, input: SetRouteInput): Promise<SetRouteResult> {
  const { cycleId, line, version, change } = input;
  const { config } = await readCycle(deps.db, cycleId);
  const next: RouteState = {
    stable: input.champion,
    canary: change.kind === 'canary' ? version : null,
    canaryShare: change.kind === 'canary' ? change.share : 0,
    holdback: change.kind === 'canary' ? change.holdback : 0,
    holdbackVersion: null,
    shadow: change.kind === 'shadow' ? version : null,
    shadowShare: change.kind === 'shadow' ? change.share : 0,
  };
  const move = await moveRoute(deps.db, {
    line,
    cycleId,
    expectedEpoch: input.expectedEpoch,
    expectedStable: input.champion,
    next,
    who: `cycle ${cycleId}`,
    why: input.why,
    effectKey: `${cycleId}/route/${input.step}`,
    leaseMs: config.canary.lease,
  });
  if (move.kind !== 'moved') return { kind: 'refused', refusal: explainRefusal(move) };
  await deps.serving.apply(move.route);
  return { kind: 'moved', epoch: move.route.epoch, movedAtMs: move.route.at.getTime() };
}

import type { Reason } from '../policy/verdict.ts';
import { initialBreaker } from '../policy/breaker.ts';
import { milliseconds } from '../policy/figures.ts';
import { compensation } from './activity-options.ts';
import { enterPhase, show, type CycleContext } from './cycle-context.ts';
import { endingOf, type Ending } from './end-of-cycle.ts';
import { watchStep, type Candidate, type DeployedRoute, type Monitor } from './monitor.ts';

/** A version that has just become stable. */
export interface Promotion {
  route: DeployedRoute;
  /** Share that stays on the stable before it; 0: it is not watched, and its cycle is closed. */
  holdback: number;
  reasons: Reason[];
}

/** The share of traffic with which the plan watches a promoted version; 0: not at all. */
export function watchedHoldback({ plan: { watch, canary } }: CycleContext): number {
  return watch === undefined || watch.window === 0 ? 0 : canary.holdback;
}

/**
 * Goes on checking a promoted version beside the stable before it, which has the holdback. Ends well as `promoted`, also when
 * nothing could be known, since the ramp was passed; leaves by `EndOfCycle` to put the stable before it back.
 */
export async function runWatch(
  context: CycleContext,
  monitor: Monitor,
  candidate: Candidate,
  { route, holdback, reasons }: Promotion,
): Promise<Ending> {
  const { plan, journal } = context;
  if (holdback === 0 || plan.watch === undefined) return { kind: 'promoted', reasons };
  const { window } = plan.watch;
  enterPhase(context, 'watch');
  journal.holdbackPercent = Math.round(holdback * 1_000) / 10;
  show(context);
  const ramp = plan.healthMode === 'sequential' ? { epoch: route.epoch, startedAtMs: route.sinceMs } : null;
  const end = await watchStep(context, monitor, {
    phase: 'watch',
    name: 'after its promotion',
    ...{ candidate, route },
    durationMs: window,
    watch: { breaker: initialBreaker(), allowedMs: 2 * window, ramp },
  });
  const undecided = end.kind === 'undecided' ? end.reasons : null;
  if (undecided !== null) journal.notes.push(...undecided.map(({ message }) => message));
  const [first, ...others] = reasons;
  const found = undecided ?? [passed(candidate, { window, holdbackPercent: journal.holdbackPercent })];
  const all = [...(first === undefined ? [] : [first]), ...found, ...others];
  await settle(context, candidate, { expectedEpoch: route.epoch, reasons: all, undecided });
  return { kind: 'promoted', reasons: all };
}

function passed(
  { version, champion }: Candidate,
  { window, holdbackPercent }: { window: number; holdbackPercent: number },
): Reason {
  const beside = `${String(holdbackPercent)} % of the traffic on version ${String(champion)}`;
  return {
    code: 'watch.passed',
    message: `version ${String(version)} was watched for ${milliseconds(window)} beside ${beside}; its last check passed`,
  };
}

/** Never gives up, as closing never does; an operator's rollback cancels it. */
async function settle(
  { cycleId, line }: CycleContext,
  { version }: Candidate,
  of: { expectedEpoch: number; reasons: Reason[]; undecided: Reason[] | null },
): Promise<void> {
  const summary = `all traffic to version ${String(version)}`;
  const settled = await compensation.settle.executeWithOptions({ summary }, [{ cycleId, line, version, ...of }]);
  if (settled.kind === 'refused') throw endingOf(settled.refusal);
}

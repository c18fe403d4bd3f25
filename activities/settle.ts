import type { Reason } from '../policy/verdict.ts';
import { readCycle } from '../store/cycles.ts';
import { settle as settlePromoted } from '../store/routes.ts';
import type { Alert, CycleRecord } from '../store/types.ts';
import { alertFigures } from './alert-figures.ts';
import { runUrl } from './cycle-alert.ts';
import type { RolloutDependencies } from './dependencies.ts';
import { explainRefusal } from './refusal.ts';
import type { SetRouteResult } from './set-route.ts';

export interface SettleInput {
  cycleId: string;
  line: string;
  version: number;
  /** The epoch of the watch. */
  expectedEpoch: number;
  /** Why the version was promoted, and what came of the watch. */
  reasons: Reason[];
  /** Why nothing shows that the version is well; null when its last check passed. */
  undecided: Reason[] | null;
}

/**
 * Ends the watch of a promoted version: the holdback goes over to it and the cycle closes as `promoted`, in one transaction,
 * with a warning when the watch stayed undecided. Refused once the cycle is closed or somebody moved the route.
 */
export async function settle(deps: RolloutDependencies, input: SettleInput): Promise<SetRouteResult> {
  const { cycleId, version, expectedEpoch, reasons, undecided } = input;
  const cycle = await readCycle(deps.db, cycleId);
  const move = await settlePromoted(deps.db, {
    ...{ cycleId, expectedEpoch, reasons },
    who: `cycle ${cycleId}`,
    why: `the watch of version ${String(version)} is over: ${undecided === null ? 'its last check passed' : 'it stayed undecided'}`,
    effectKey: `${cycleId}/settle`,
    ...(undecided !== null && { alert: undecidedAlert(deps, { cycle, version, reasons: undecided }) }),
  });
  if (move.kind !== 'moved') return { kind: 'refused', refusal: explainRefusal(move) };
  await deps.serving.apply(move.route);
  return { kind: 'moved', epoch: move.route.epoch, movedAtMs: move.route.at.getTime() };
}

function undecidedAlert(
  { uiUrl }: Pick<RolloutDependencies, 'uiUrl'>,
  { cycle, version, reasons }: { cycle: CycleRecord; version: number; reasons: Reason[] },
): Alert {
  const { cycleId, line, stableAtStart } = cycle;
  const url = runUrl(uiUrl, cycle);
  const advice = `To go back: freshet rollback ${line} --to ${String(stableAtStart)} --reason TEXT`;
  return {
    dedupKey: `${cycleId}/watchUndecided`,
    severity: 'warning',
    page: false,
    line,
    title: `${line}: the watch of version ${String(version)} stayed undecided`,
    text: [...reasons.map(({ message }) => message), advice].join('\n'),
    fields: { version, stableAtStart, ...alertFigures(reasons) },
    ...(url === null ? {} : { url }),
    kind: 'watchUndecided',
  };
}

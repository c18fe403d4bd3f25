import { beginCycle } from './begin-cycle.ts';
import { checkHealth } from './check-health.ts';
import { checkParity } from './check-parity.ts';
import { checkSnapshot } from './check-snapshot.ts';
import type { DataDependencies, GpuDependencies, RolloutDependencies } from './dependencies.ts';
import { endCycle, savePhases } from './end-cycle.ts';
import { evaluateChallenger } from './evaluate-challenger.ts';
import { extendHoldout } from './extend-holdout.ts';
import { askForApproval, recordApproval } from './approval.ts';
import { reportLateRollback, reportRollbackConfirmed } from './late-rollback.ts';
import { promote } from './promote.ts';
import { readShadow } from './read-shadow.ts';
import { readTriggers } from './read-triggers.ts';
import { registerVersion } from './register-version.ts';
import { confirmRoute, rollback } from './rollback.ts';
import { setRoute } from './set-route.ts';
import { settle } from './settle.ts';
import { startTriggeredCycle } from './start-cycle.ts';
import { takeSnapshot } from './take-snapshot.ts';
import { trainChallenger } from './train-challenger.ts';

/** Activities of the data queue. */
export const createDataActivities = (deps: DataDependencies) =>
  bindAll(deps, { takeSnapshot, checkSnapshot, checkParity, evaluateChallenger, extendHoldout, registerVersion });

/** Activities of the gpu queue: one trainer at a time a device. */
export const createGpuActivities = (deps: GpuDependencies) => bindAll(deps, { trainChallenger });

/** Activities of the rollout queue: short, and never behind a snapshot or a training. */
export const createRolloutActivities = (deps: RolloutDependencies) =>
  bindAll(deps, {
    beginCycle,
    setRoute,
    readShadow,
    checkHealth,
    promote,
    settle,
    rollback,
    confirmRoute,
    reportLateRollback,
    reportRollbackConfirmed,
    endCycle,
    savePhases,
    askForApproval,
    recordApproval,
    readTriggers,
    startTriggeredCycle,
  });

export type DataActivities = ReturnType<typeof createDataActivities>;
export type GpuActivities = ReturnType<typeof createGpuActivities>;
export type RolloutActivities = ReturnType<typeof createRolloutActivities>;

type Activity<Deps> = (deps: Deps, input: never) => Promise<unknown>;
type Bound<F> = F extends (deps: never, input: infer Input) => infer Result ? (input: Input) => Result : never;

function bindAll<Deps, Functions extends Record<string, Activity<Deps>>>(
  deps: Deps,
  functions: Functions,
): { [Name in keyof Functions]: Bound<Functions[Name]> } {
  return Object.fromEntries(
    Object.entries(functions).map(([name, activity]) => [name, (input: never) => activity(deps, input)]),
  ) as { [Name in keyof Functions]: Bound<Functions[Name]> };
}

import type { Phase } from '../../workflows/messages.ts';
import { forceRollbackSignal, pauseSignal } from '../../workflows/messages.ts';
import { fixtureTrainer } from '../rig/installation.ts';
import type { CycleOptions, RunningCycle } from './signals-rig.ts';

/** Where a cycle stands when it is told to stop, and what that comes to. */
export interface Stage extends CycleOptions {
  name: string;
  phase: Phase;
  /** `aborts`: nothing was routed. `rollsBack`: the candidate leaves the route. `ignores`: it was decided before. */
  then: 'aborts' | 'rollsBack' | { ignores: [outcome: string, code: string] };
  /** Brings a cycle that was started there; to its gate when left out. */
  enter?: (cycle: RunningCycle, stage: Stage) => Promise<void>;
  /** Another moment of a phase that is there already. */
  again?: boolean;
  /** What is held can not be cancelled: it has to end before the cycle does. */
  waited?: boolean;
}

const LONG = '1h';
const carol = { who: 'carol', reason: 'it came first' };

const untilCanary = async (cycle: RunningCycle): Promise<void> => {
  await cycle.until(({ canaryPercent }) => canaryPercent !== null);
};

/** All phases; those with a moment in which it matters are there more than once. */
export const STAGES: readonly Stage[] = [
  { name: 'begin', phase: 'begin', then: 'aborts', gate: ['beginCycle'], waited: true },
  { name: 'snapshot', phase: 'snapshot', then: 'aborts', gate: ['takeSnapshot'] },
  { name: 'check', phase: 'check', then: 'aborts', gate: ['checkSnapshot'] },
  {
    ...{ name: 'train', phase: 'train', then: 'aborts' },
    config: { training: { command: fixtureTrainer('falling', 'slow') } },
  },
  { name: 'parity', phase: 'parity', then: 'aborts', gate: ['checkParity'] },
  { name: 'evaluate', phase: 'evaluate', then: 'aborts', gate: ['evaluateChallenger'] },
  {
    ...{ name: 'gate, paused in it', phase: 'gate', then: 'aborts', gate: ['evaluateChallenger'] },
    enter: async (cycle) => {
      await cycle.untilHeld();
      await cycle.handle.signal(pauseSignal, carol);
      await cycle.goOn();
    },
  },
  {
    ...{ name: 'extend', phase: 'extend', then: 'aborts' },
    config: {
      training: { command: fixtureTrainer('rising') },
      gate: { tolerance: 0.03, onInconclusive: 'extend', extend: { every: LONG } },
    },
  },
  { name: 'register, done', phase: 'register', then: 'aborts', gate: ['registerVersion', 'after'] },
  { name: 'approval', phase: 'approval', then: 'aborts', config: { gate: { approval: 'always' } } },
  { name: 'shadow, its route not set yet', phase: 'shadow', then: 'rollsBack', again: true, gate: ['setRoute'] },
  { name: 'shadow', phase: 'shadow', then: 'rollsBack', gate: ['readShadow'] },
  {
    ...{ name: 'canary', phase: 'canary', then: 'rollsBack', traffic: true, enter: untilCanary },
    config: { canary: { window: LONG } },
  },
  { name: 'promote, not done yet', phase: 'promote', then: 'rollsBack', traffic: true, gate: ['promote'] },
  {
    name: 'promote, done',
    phase: 'promote',
    then: 'rollsBack',
    traffic: true,
    again: true,
    gate: ['promote', 'after'],
  },
  {
    ...{ name: 'watch', phase: 'watch', then: 'rollsBack', traffic: true },
    config: { watch: { window: LONG } },
  },
  {
    name: 'watch, its holdback not removed yet',
    phase: 'watch',
    then: 'rollsBack',
    traffic: true,
    again: true,
    gate: ['settle'],
  },
  {
    ...{ name: 'watch, its holdback removed', phase: 'watch', then: 'rollsBack', traffic: true, again: true },
    gate: ['settle', 'after'],
  },
  {
    ...{ name: 'rollback', phase: 'rollback', gate: ['rollback'], waited: true },
    ...{ config: { canary: { window: LONG } }, traffic: true },
    then: { ignores: ['rolledBack', 'operator.forceRollback'] },
    enter: async (cycle) => {
      await untilCanary(cycle);
      await cycle.handle.signal(forceRollbackSignal, carol);
      await cycle.untilHeld();
    },
  },
  {
    ...{ name: 'closed as promoted', phase: 'closed', then: 'rollsBack', gate: ['savePhases'], waited: true },
    traffic: true,
  },
  {
    ...{ name: 'closed as skipped', phase: 'closed', again: true, gate: ['savePhases'], waited: true },
    config: { snapshot: { minRows: 1_000_000 } },
    then: { ignores: ['skipped', 'volume.min-rows'] },
  },
];
